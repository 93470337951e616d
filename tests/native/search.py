"""Runs the fuzzing program: `python -m tests.native.search DIRECTORY [option of libFuzzer...]`, or `... FILE`.

With a directory it searches, begins with what was found there before, and leaves there what it finds. With a
file, an input that was found, it says packet by packet what happens, and what is not as it must be.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.native import build, seeds

_MOST = 4096  # bytes of an input


def command(at: Path, *options: str) -> list[str]:
    """Return the command that searches, and make the directory ready for it."""
    for name in ("seeds", "found"):
        (at / name).mkdir(parents=True, exist_ok=True)
    seeds.write(at / "seeds", at / "words")
    return [
        str(build.fuzzer()),
        f"-max_len={_MOST}",
        "-timeout=10",
        f"-dict={at / 'words'}",
        f"-artifact_prefix={at}/",
        *options,
        str(at / "found"),
        str(at / "seeds"),
    ]


def environment() -> dict[str, str]:
    """Return the environment in which the program names its functions: by the symbolizer of its compiler."""
    symbolizer = Path(build.clang()).resolve().parent / "llvm-symbolizer"
    return {**os.environ, "ASAN_SYMBOLIZER_PATH": str(symbolizer)}


def main(arguments: list[str]) -> None:
    """Become the fuzzing program."""
    if not arguments:
        sys.exit(__doc__)
    at = Path(arguments[0])
    if at.is_file():
        program = str(build.fuzzer())
        os.execve(program, [program, str(at)], {**environment(), "AXON_FUZZ_TRACE": "1"})
    run = command(at, *arguments[1:])
    os.execve(run[0], run, environment())


if __name__ == "__main__":
    main(sys.argv[1:])

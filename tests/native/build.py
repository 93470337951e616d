"""Compile the machine for the host: as a library for ctypes, and as a fuzzing program.

What is built is kept in build/native under the hash of its sources, so that a second run starts at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SOURCES = (*sorted((ROOT / "bpf").glob("*.[ch]")), *sorted(HERE.glob("*.[ch]")), Path(__file__))
KEPT = 4

_COMMON = (
    "-g",
    "-DAX_NATIVE",
    f"-I{HERE}",
    "-Wall",
    "-Wextra",
    "-Werror",
    # What the programs may do in BPF as well: any address, any type.
    "-fno-strict-aliasing",
    "-fno-sanitize=alignment",
    "-fno-sanitize-recover=all",
)


def clang() -> str:
    """Return the compiler's path; raise FileNotFoundError that says how to get it."""
    for version in ("-19", "-18", "-17", "-16", "-15", ""):
        found = shutil.which(f"clang{version}")
        if found:
            return found
    raise FileNotFoundError(
        "There is no clang to compile the machine with: `make setup` installs it."
    )


def library() -> Path:
    """Return the machine as a shared library, watched by UndefinedBehaviorSanitizer."""
    return _shared("machine.so", "harness.c")


def gate() -> Path:
    """Return the gate's reader and judge in the same way."""
    return _shared("gate.so", "strict.c")


def fuzzer() -> Path:
    """Return the fuzzing program: libFuzzer over the machine, with every sanitizer."""
    _runtime("libclang_rt.fuzzer")
    flags = ("-O1", "-fsanitize=fuzzer,address,undefined")
    return _built("fuzz", flags, [HERE / "fake.c", HERE / "harness.c", HERE / "fuzz.c"])


def types() -> Path:
    """Return an object whose BTF describes the structs of these sources. It is not loaded."""
    include = f"/usr/include/{os.uname().machine}-linux-gnu"
    flags = ("-O2", "-g", "-target", "bpf", "-mcpu=v2", "-idirafter", include, "-c")
    return _built("types.o", flags, [ROOT / "bpf/axon.bpf.c"], common=())


def _shared(name: str, source: str) -> Path:
    runtime = _runtime("libclang_rt.ubsan_standalone")
    flags = ("-O1", "-fPIC", "-shared", "-fsanitize=undefined", "-shared-libsan")
    return _built(name, (*flags, f"-Wl,-rpath,{runtime.parent}"), [HERE / "fake.c", HERE / source])


def _runtime(name: str) -> Path:
    for suffix in (
        f"{name}-{os.uname().machine}.so",
        f"{name}.so",
        f"{name}-{os.uname().machine}.a",
    ):
        asked = subprocess.run(
            [clang(), f"-print-file-name={suffix}"], check=True, capture_output=True, text=True
        )
        found = Path(asked.stdout.strip())
        if found.exists():
            return found
    raise FileNotFoundError(
        f"{clang()} has no run-time library {name}: `make setup` installs libclang-rt-*-dev."
    )


def _built(
    name: str, flags: tuple[str, ...], sources: list[Path], common: tuple[str, ...] = _COMMON
) -> Path:
    digest = hashlib.sha256(b"\0".join(p.read_bytes() for p in SOURCES)).hexdigest()[:16]
    directory = ROOT / "build/native" / digest
    target = directory / name
    if not target.exists():
        _forget(directory)
        directory.mkdir(parents=True, exist_ok=True)
        aside = target.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [clang(), *flags, *common, *map(str, sources), "-o", str(aside)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{name} does not compile:\n{done.stderr}")
        aside.rename(target)
    return target


def _forget(keep: Path) -> None:
    """Remove what older sources were built into."""
    if keep.parent.exists():
        others = [d for d in keep.parent.iterdir() if d.is_dir() and d != keep]
        for old in sorted(others, key=lambda d: d.stat().st_mtime)[: -KEPT + 1]:
            shutil.rmtree(old, ignore_errors=True)

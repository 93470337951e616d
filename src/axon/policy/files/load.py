"""Policies from files and directories."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from axon.errors import PolicyError
from axon.policy.files.read import Reader
from axon.policy.files.source import LARGEST, BrokenError, documents
from axon.policy.language.model import Policy
from axon.policy.language.problems import Mark, Problem, Problems, message

SUFFIXES = (".yaml", ".yml")


def parse_policies(text: str, file: str) -> list[Policy]:
    """Return the policies of a file's text. Raise PolicyError, which says all that is wrong."""
    problems = Problems()
    reader = Reader(problems)
    policies = []
    try:
        for root in documents(text, file):
            policy = reader.policy(root)
            if policy:
                policies.append(policy)
    except BrokenError as error:
        problems.add(*error.problem)
    problems.check()
    return policies


class Library:
    """The policies of some files, each read again only when it has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], list[Policy]]] = {}

    def load(self, paths: Iterable[Path]) -> list[Policy]:
        """Return the policies of files, and of the *.yaml and *.yml files of directories.

        Raise PolicyError, which says all that is wrong in any of them.
        """
        known = {}
        failures = []
        policies: list[Policy] = []
        for file, wrong in policy_files(paths).items():
            if wrong:
                failures.append(wrong)
                continue
            try:
                known[file] = self._read(file)
                policies += known[file][1]
            except PolicyError as error:
                failures.append(str(error))
        twice = _repeated(policies)
        if twice:
            failures.append(message(twice))
        if failures:
            raise PolicyError("\n".join(failures))
        self._known = known
        return policies

    def _read(self, file: Path) -> tuple[tuple[int, int, int], list[Policy]]:
        state = changed(file)
        before = self._known.get(file)
        if before and before[0] == state:
            return before
        return state, parse_policies(read_text(file), str(file))


def changed(file: Path) -> tuple[int, int, int]:
    """Return what is another one when a file has changed. Raise PolicyError if it is not there."""
    try:
        found = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_text(file: Path) -> str:
    """Return a file's text. Raise PolicyError if it is too large or cannot be read."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except OSError as error:
        raise _unreadable(file, error) from error
    if len(raw) > LARGEST:
        raise PolicyError(
            f"{file}: it has more than {LARGEST >> 20} MiB, and Axon reads no more of a file: "
            "write what it says into several files."
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"{file}: it is not text in UTF-8 (byte {error.start + 1}): save it as UTF-8."
        ) from error


def _unreadable(file: Path, error: OSError) -> PolicyError:
    return PolicyError(f"Cannot read {file}: {error.strerror}. Name a readable file or directory.")


def load_policies(paths: Iterable[Path]) -> list[Policy]:
    """Return the policies of files and directories, see Library.load."""
    return Library().load(paths)


def policy_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the files that are meant, each once, those of a directory by name.

    With each stands why it cannot be read, if that is known; else nothing. What has a policy's name
    in a directory and is no file is not passed over: its policy would be gone without a word.
    """
    found: dict[Path, str] = {}
    for path in paths:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else None
        except OSError as error:
            raise PolicyError(
                f"Cannot read the directory {path}: {error.strerror}. Name a readable one."
            ) from error
        if inside is None:  # also what is piped to a command
            found[path] = ""
            continue
        for file in inside:
            if file.suffix in SUFFIXES and not file.name.startswith("."):
                found[file] = _no_file(file)
    return found


def _no_file(file: Path) -> str:
    """Return why what stands in a directory is no file of policies; empty if it is one."""
    try:
        mode = file.stat().st_mode
    except OSError as error:
        if file.is_symlink():
            return f"{file}: it is a link to what cannot be read ({error.strerror}): mend or remove it."
        return f"Cannot read {file}: {error.strerror}. Have it readable, or remove it."
    if stat.S_ISREG(mode):
        return ""
    what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
    return f"{file}: it is {what}, and has the name of a file of policies: remove or rename it."


def _repeated(policies: Iterable[Policy]) -> list[Problem]:
    """Return what is to be said of policies with the same name in the same namespace."""
    first: dict[tuple[str, str], Policy] = {}
    problems = []
    for policy in policies:
        before = first.setdefault(policy.key, policy)
        if before is not policy:
            mark = policy.mark or Mark("", 0, 0)
            problems.append(
                Problem(mark, f"{policy} is in {before.mark} already", "give it another name")
            )
    return problems

"""Policies from files and directories."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from axon.errors import PolicyError
from axon.policy.files.contents import Contents
from axon.policy.files.read import Reader
from axon.policy.files.source import BrokenError, documents
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


def _parse(text: str, file: str) -> list[Policy]:
    """Return the policies of a file that is to have some.

    A full disk leaves an empty file behind, which is not to end the policies that stood there.
    """
    policies = parse_policies(text, file)
    if not policies:
        raise PolicyError(f"{file}: there is no policy in it: remove the file if that is meant.")
    return policies


class Library:
    """The policies of some files, each read again only when it has changed; `regular` as for Contents."""

    def __init__(self, *, regular: bool = False) -> None:
        self._contents = Contents(_parse, regular=regular)

    def load(self, paths: Iterable[Path]) -> list[Policy]:
        """Return the policies of files, and of the *.yaml and *.yml files of directories.

        Raise PolicyError, which says all that is wrong in any of them.
        """
        self._contents.look(policy_files(paths))
        return self._policies()

    def look(self, paths: Iterable[Path], apart: float) -> list[Policy] | None:
        """Return the same, but None while files have changed that were not so `apart` seconds ago."""
        return self._policies() if self._contents.look(policy_files(paths), apart) else None

    def _policies(self) -> list[Policy]:
        policies = [policy for inside in self._contents.values for policy in inside]
        failures = self._contents.wrong
        twice = _repeated(policies)
        if twice:
            failures.append(message(twice))
        if failures:
            raise PolicyError("\n".join(failures))
        return policies


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

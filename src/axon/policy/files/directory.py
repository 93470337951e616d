"""A directory of policies that is written to: each policy in a file of its own, whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from axon.errors import PolicyError
from axon.policy.files.contents import read_text
from axon.policy.files.load import load_policies, policy_files
from axon.policy.files.split import split_policies
from axon.policy.language.model import Policy

_PATIENCE, _AGAIN = 10, 0.02  # seconds to wait for another writer, and between looks at it
_LOCK = ".lock"  # a name that policies cannot have
_RANDOM = 8  # bytes in the name of a draft
_DRAFTS = f".*_*.{'[0-9a-f]' * 2 * _RANDOM}.draft"


@dataclass(frozen=True, slots=True)
class Change:
    """A policy's file as it should be, and as it was; None: it is not there."""

    policy: Policy
    file: Path
    after: str | None
    before: str | None

    @property
    def what(self) -> str:
        """What is done to the policy, in a word."""
        if self.after is None:
            return "deleted"
        if self.before is None:
            return "created"
        return "unchanged" if self.before == self.after else "changed"


def file_of(policy: Policy) -> str:
    """Return the name of the file that a policy is written into. No two policies have the same."""
    return f"{policy.namespace}_{policy.name}.yaml"  # neither can have an underscore


def busy(directory: Path) -> bool:
    """Return whether somebody is writing policies into a directory at this moment."""
    try:
        descriptor = os.open(
            directory / _LOCK, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        )
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class Directory:
    """The policies of a directory. Every method raises PolicyError for what cannot be done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from writing, and the agent from reading what is written in part.

        The lock is a file of its own: whoever may read the directory could lock that.
        """
        lock = self.path / _LOCK
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(lock, flags, 0o600)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise PolicyError(
                f"Cannot open the directory {self.path}: {error.strerror}. Create it, or name "
                "another one."
            ) from error
        except OSError as error:
            remedy = (
                "Make room there, and try again."
                if error.errno in {errno.ENOSPC, errno.EDQUOT}
                else "Try again as root, or as who has made that file."
            )
            raise PolicyError(f"Cannot write {lock}: {error.strerror}. {remedy}") from error
        try:
            self._lock(descriptor)
            self._remove_drafts()
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise PolicyError(
                        f"Somebody else has been writing to {self.path} for {_PATIENCE} seconds: "
                        "fuser names the process. Nothing was changed."
                    ) from error
                time.sleep(_AGAIN)
            else:
                return

    def policies(self) -> list[Policy]:
        """Return the policies that are there."""
        return load_policies([self.path])

    def to_apply(self, paths: Iterable[Path]) -> list[Change]:
        """Return what is to be done so that the policies of some files are in the directory."""
        there = {policy.key: policy for policy in self.policies()}
        load_policies(paths := list(paths))  # all that is wrong is said at once
        found = []
        for file in policy_files(paths):
            for policy, text in split_policies(read_text(file), str(file)):
                own = self.path / file_of(policy)
                self._check_place(policy, there.get(policy.key), own)
                _check_alone(policy, own, there.values())
                found.append(Change(policy, own, text, _text(own)))
        return found

    def to_delete(self, name: str, namespace: str) -> Change:
        """Return what is to be done so that a policy is gone that was written by `to_apply`."""
        there = self.policies()
        found = next((p for p in there if p.key == (namespace, name)), None)
        if found is None:
            raise PolicyError(
                f"There is no policy {namespace}/{name} in {self.path}: axon policy list says "
                "which there are."
            )
        file = Path(found.mark.file if found.mark else "")
        others = [str(p) for p in there if p is not found and p.mark and p.mark.file == str(file)]
        if others:
            raise PolicyError(
                f"{found} stands in {found.mark} together with {', '.join(others)}: remove it from "
                "that file."
            )
        if file.name != file_of(found):
            raise PolicyError(
                f"{found} stands in {found.mark}, which axon policy apply did not write: remove "
                "that file."
            )
        return Change(found, file, None, _text(file))

    def after(self, changes: Sequence[Change]) -> list[Policy]:
        """Return the policies that are there when changes are made."""
        there = {policy.key: policy for policy in self.policies()}
        for change in changes:
            there.pop(change.policy.key, None)
            if change.after is not None:
                there[change.policy.key] = change.policy
        return list(there.values())

    def write(self, changes: Sequence[Change]) -> None:
        """Make changes: everything is on disk under other names first, then renamed."""
        try:
            self._write([(one.file, one.after) for one in changes if one.after != one.before])
        except OSError as error:
            self.undo(changes)
            raise PolicyError(f"{self._cannot_write(error)} Nothing was changed.") from error

    def undo(self, changes: Sequence[Change]) -> None:
        """Have the files be as they were. Raise PolicyError, which names those that are not."""
        self._remove_drafts()  # who was interrupted may have left them, and there may be no room
        try:
            self._write([(one.file, one.before) for one in changes if not _is(one)])
        except OSError as error:
            left = [str(one.file) for one in changes if not _is(one)]
            if left:
                raise PolicyError(
                    f"{self._cannot_write(error)} Not as before, and to be mended by hand: "
                    f"{', '.join(left)}."
                ) from error

    def _cannot_write(self, error: OSError) -> str:
        return (
            f"Cannot write {error.filename or self.path}: {error.strerror}. Make room, or try again "
            "as a user who may write there."
        )

    def _write(self, files: Sequence[tuple[Path, str | None]]) -> None:
        drafts: list[tuple[Path, Path]] = []
        try:
            for file, text in files:
                if text is not None:
                    draft = file.with_name(f".{file.stem}.{os.urandom(_RANDOM).hex()}.draft")
                    drafts.append((draft, file))
                    _store(draft, text)
            for draft, file in drafts:
                draft.rename(file)
            for file, text in files:
                if text is None:
                    file.unlink(missing_ok=True)
        finally:
            for draft, _ in drafts:
                with suppress(OSError):
                    draft.unlink()
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove_drafts(self) -> None:
        """Remove what a writer has left that was killed."""
        for draft in self.path.glob(_DRAFTS):
            with suppress(OSError):
                draft.unlink()

    def _check_place(self, policy: Policy, there: Policy | None, own: Path) -> None:
        """Raise PolicyError if a policy stands in another file than its own."""
        if there is None or there.mark is None:
            return
        standing = Path(there.mark.file)
        mine = policy.mark.file if policy.mark else ""
        if mine and standing.exists() and Path(mine).exists() and standing.samefile(mine):
            if standing.resolve() != own.resolve():
                raise PolicyError(
                    f"{policy} stands in the directory already, in {there.mark}: what is written "
                    "there is in force, and needs no apply."
                )
        elif standing.resolve() != own.resolve():
            raise PolicyError(
                f"{policy} is in {there.mark} already, which axon policy apply did not write: "
                "change it there, or remove it there and apply again."
            )


def _check_alone(policy: Policy, own: Path, there: Iterable[Policy]) -> None:
    """Raise PolicyError if a policy's own file has another policy, which would be lost."""
    for other in there:
        if other.key != policy.key and other.mark and Path(other.mark.file) == own:
            raise PolicyError(
                f"{other} stands in {other.mark}, which is the file that {policy} would be written "
                "into: move it to another file."
            )


def _is(change: Change) -> bool:
    """Return whether a file is as it was before a change."""
    return _text(change.file) == change.before


def _store(file: Path, text: str) -> None:
    # Nothing that stands there is written to, nor what it leads to.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(file, flags, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _text(file: Path) -> str | None:
    return read_text(file) if file.is_file() else None

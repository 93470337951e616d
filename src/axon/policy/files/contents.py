"""What files say, read again only when they have changed, and taken up only when they stand still."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from axon.errors import PolicyError
from axon.files import UnfitError, read_regular
from axon.garbage import unsearched
from axon.policy.files.source import LARGEST

Value = TypeVar("Value")


class Print(NamedTuple):
    """What is another one when somebody has written to a file; `wrong`: why it cannot be read.

    The times are in ns: those of the contents and, as they can be set back, those of any change.
    """

    state: tuple[int, ...] = ()
    digest: bytes = b""
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class _Taken(Generic[Value]):
    """What a file says, or why that cannot be used."""

    print: Print
    value: Value | None
    wrong: str


class Contents(Generic[Value]):
    """What some files say, as `parse` makes it of a file's text and name.

    Whoever writes a file has it empty or cut for a moment, and of several files some old and some
    new. So what has changed is taken up when it is found unchanged some time later. `regular`: no
    other file is read, because who looks must not be kept waiting.
    """

    def __init__(self, parse: Callable[[str, str], Value], *, regular: bool = False) -> None:
        self._parse = parse
        self._regular = regular
        self._taken: dict[Path, _Taken[Value]] | None = None
        self._moving: dict[Path, Print] | None = None
        self._since = 0.0

    def look(self, files: Mapping[Path, str], apart: float = 0) -> bool:
        """Take up what files say if it is what they have said `apart` seconds ago; 0: at once.

        With each file stands why it cannot be read, if that is known. Return whether what is taken
        is what they say.
        """
        began = time.monotonic()
        read = {file: self._read(file, wrong) for file, wrong in files.items()}
        prints = {file: found for file, (found, _) in read.items()}
        if self._taken is not None and prints == {f: t.print for f, t in self._taken.items()}:
            self._moving = None
            return True
        still = prints == self._moving and began - self._since >= apart
        if prints != self._moving:
            self._moving, self._since = prints, time.monotonic()
        if apart and not still:
            return self._says(prints)
        self._moving = None
        with unsearched():
            self._taken = {file: self._take(file, *found) for file, found in read.items()}
        return True

    @property
    def values(self) -> list[Value]:
        """What the files say that can be used, as of when it was taken up."""
        return [one.value for one in (self._taken or {}).values() if one.value is not None]

    @property
    def wrong(self) -> list[str]:
        """Why the others cannot be used."""
        return [one.wrong for one in (self._taken or {}).values() if one.wrong]

    def _says(self, prints: Mapping[Path, Print]) -> bool:
        """Return whether files that have been written to say what is taken all the same."""
        taken = {file: one.print for file, one in (self._taken or {}).items()}
        return (
            self._taken is not None
            and taken.keys() == prints.keys()
            and all(
                (found.digest, found.wrong) == (taken[file].digest, taken[file].wrong)
                for file, found in prints.items()
            )
        )

    def _read(self, file: Path, wrong: str) -> tuple[Print, str | None]:
        """Return a file's print, and its text unless it is the one that was taken up."""
        if wrong:
            return Print(wrong=wrong), None
        known = (self._taken or {}).get(file)
        state: tuple[int, ...] = ()
        try:
            state = _state(file)
            if known and known.print.state == state and not known.print.wrong:
                return known.print, None
            text = read_text(file, regular=self._regular)
        except PolicyError as error:
            return Print(state, wrong=str(error)), None
        return Print(state, blake2b(text.encode(), digest_size=16).digest()), text

    def _take(self, file: Path, found: Print, text: str | None) -> _Taken[Value]:
        known = (self._taken or {}).get(file)
        if text is None:
            if known and known.print == found:
                return known
            return _Taken(found, None, found.wrong)
        try:
            return _Taken(found, self._parse(text, str(file)), "")
        except PolicyError as error:
            return _Taken(found, None, str(error))


def _state(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_dev, found.st_ino


def read_text(file: Path, *, regular: bool = False) -> str:
    """Return a file's text. Raise PolicyError if it is too large or cannot be read.

    `regular`: it has to be a regular file, where else it may be a pipe.
    """
    try:
        raw = read_regular(file, LARGEST) if regular else _whole(file)
    except UnfitError as error:
        raise PolicyError(
            f"{file} {error.strerror}: name a regular file of up to {LARGEST >> 20} MiB."
        ) from error
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


def _whole(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(LARGEST + 1)


def _unreadable(file: Path, error: OSError) -> PolicyError:
    return PolicyError(f"Cannot read {file}: {error.strerror}. Name a readable file or directory.")

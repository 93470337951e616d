"""Label sets, each a tuple; their encodings are made of pieces that many of them have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import starmap
from typing import Self

from axon.export.varint import delimited
from axon.identity.printable import printable

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_PIECES = 1024  # most recent pairs of which the encoding is kept: some 300 bytes each


class Labels(tuple[tuple[str, ...] | str, ...]):
    """Names and values in the order of the exposition. Labels without a value are left out.

    There are as many of these as series, so each is one tuple: first the names, themselves a tuple
    that all of a kind have in common, then the values. Nothing that is derived is kept.
    """

    __slots__ = ()

    def __new__(cls, names: tuple[str, ...], values: Sequence[str]) -> Self:
        """Take the names and as many values."""
        kept = _kept(names, tuple(map(bool, values)))
        return super().__new__(cls, (kept, *(_encodable(value) for value in values if value)))

    @classmethod
    def of(cls, pairs: Iterable[Sequence[str]]) -> Labels:
        """Return the labels of names with values."""
        listed = list(pairs)
        return cls(tuple(name for name, _ in listed), [value for _, value in listed])

    def __repr__(self) -> str:
        return f"Labels({self.text})"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names and values."""
        return list(zip(self[0], self[1:], strict=True))  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """The labels as they stand between the braces of the text formats."""
        return ",".join(starmap(_text, self.pairs))

    @property
    def wire(self) -> bytes:
        """The labels as fields 1 (LabelPair) of io.prometheus.client.Metric."""
        return b"".join(starmap(_wire, self.pairs))


@lru_cache(_PIECES)
def _text(name: str, value: str) -> str:
    return f'{name}="{value.translate(_ESCAPES)}"'


@lru_cache(_PIECES)
def _wire(name: str, value: str) -> bytes:
    return delimited(1, delimited(1, name.encode()) + delimited(2, value.encode()))


@lru_cache(256)
def _kept(names: tuple[str, ...], kept: tuple[bool, ...]) -> tuple[str, ...]:
    """Return the names that are kept, as one tuple for everyone who keeps the same."""
    return tuple(name for name, keep in zip(names, kept, strict=True) if keep)


def _encodable(value: str) -> str:
    """Return a value that UTF-8 can encode: a surrogate, which stands for a byte, cannot be."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return printable(value)
    return value


NO_LABELS = Labels((), ())

"""Label sets, encoded once and kept for as long as their series lives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from axon.export.varint import delimited

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Labels:
    """Names and values in the order of the exposition. Labels without a value are left out.

    There are as many of these as series: the names are one tuple for all of a kind, and what is
    derived is made when it is first asked for.
    """

    __slots__ = ("_hash", "_names", "_text", "_values", "_wire")

    def __init__(self, names: tuple[str, ...], values: Sequence[str]) -> None:
        kept = tuple(map(bool, values))
        self._names = _kept(names, kept)
        self._values = tuple(_encodable(value) for value in values if value)
        self._hash = hash(self._values)
        self._text: str | None = None
        self._wire: bytes | None = None

    @classmethod
    def of(cls, pairs: Iterable[Sequence[str]]) -> Labels:
        """Return the labels of names with values."""
        listed = list(pairs)
        return cls(tuple(name for name, _ in listed), [value for _, value in listed])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Labels)
            and self._values == other._values
            and self._names == other._names
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Labels({self.text})"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names and values."""
        return list(zip(self._names, self._values, strict=True))

    @property
    def text(self) -> str:
        """The labels as they stand between the braces of the text formats."""
        if self._text is None:
            self._text = ",".join(
                f'{name}="{value.translate(_ESCAPES)}"' for name, value in self.pairs
            )
        return self._text

    @property
    def wire(self) -> bytes:
        """The labels as fields 1 (LabelPair) of io.prometheus.client.Metric."""
        if self._wire is None:
            self._wire = b"".join(
                delimited(1, delimited(1, name.encode()) + delimited(2, value.encode()))
                for name, value in self.pairs
            )
        return self._wire


@lru_cache(256)
def _kept(names: tuple[str, ...], kept: tuple[bool, ...]) -> tuple[str, ...]:
    """Return the names that are kept, as one tuple for everyone who keeps the same."""
    return tuple(name for name, keep in zip(names, kept, strict=True) if keep)


NO_LABELS = Labels((), ())


def _encodable(value: str) -> str:
    """Return a value that UTF-8 can encode: a surrogate, which stands for a byte, cannot be."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace").decode()
    return value

"""Label sets, encoded once and kept for as long as their series lives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from axon.export.varint import delimited

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Labels:
    """Names and values in the order of the exposition. Labels without a value are left out."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        # A surrogate cannot be written as UTF-8: it stands for a byte that was none.
        self.pairs = tuple(
            (name, value.encode("utf-8", "replace").decode()) for name, value in pairs if value
        )
        self._hash = hash(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Labels({self.text})"

    @cached_property
    def text(self) -> str:
        """The labels as they stand between the braces of the text formats."""
        return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in self.pairs)

    @cached_property
    def wire(self) -> bytes:
        """The labels as fields 1 (LabelPair) of io.prometheus.client.Metric."""
        return b"".join(
            delimited(1, delimited(1, name.encode()) + delimited(2, value.encode()))
            for name, value in self.pairs
        )


NO_LABELS = Labels(())

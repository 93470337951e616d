"""The text formats: Prometheus 0.0.4 and OpenMetrics 1.0.

Lines are put together column by column: head, labels, tail and number of every row's line of a
bucket are laid into one list by strided slices and joined, so no Python runs once a line. A block
of rows at a time, which stays in the processor's cache.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from axon.export.families import Block, Family, Histograms, Scalars

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ROWS = 128


def prometheus(families: Iterable[Family]) -> Iterator[bytes]:
    """Yield the exposition in the format 0.0.4, in pieces of up to some hundred kilobytes."""
    for family in families:
        suffix = "_total" if isinstance(family, Scalars) and family.kind == "counter" else ""
        yield _head(family, family.name + suffix)
        yield from _lines(family)


def openmetrics(families: Iterable[Family]) -> Iterator[bytes]:
    """Yield the exposition in OpenMetrics 1.0, in pieces of up to some hundred kilobytes."""
    for family in families:
        yield _head(family, family.name, unit=True)
        yield from _lines(family)
    yield b"# EOF\n"


def _head(family: Family, name: str, *, unit: bool = False) -> bytes:
    kind = family.kind if isinstance(family, Scalars) else "histogram"
    lines = [f"# TYPE {name} {kind}\n"]
    if unit and family.unit:
        lines.append(f"# UNIT {name} {family.unit}\n")
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    if unit:
        text = text.replace('"', '\\"')
    lines.append(f"# HELP {name} {text}\n")
    return "".join(lines).encode()


def _lines(family: Family) -> Iterator[bytes]:
    labels = family.labels
    for start in range(0, len(labels), _ROWS):
        block = slice(start, start + _ROWS)
        texts = [row.text for row in labels[block]]
        if isinstance(family, Scalars):
            yield _scalars(family, texts, block)
        else:
            yield _histograms(family, texts, family.read(block))


def _scalars(family: Scalars, texts: Sequence[str], block: slice) -> bytes:
    name = family.name + ("_total" if family.kind == "counter" else "")
    numbers = family.values[block]
    plain = numbers.tolist() if isinstance(numbers, np.ndarray) else numbers
    return "".join(
        f"{name}{{{text}}} {number}\n" if text else f"{name} {number}\n"
        for text, number in zip(texts, plain, strict=True)
    ).encode()


def _histograms(family: Histograms, texts: Sequence[str], block: Block) -> bytes:
    rows = len(texts)
    cumulative = np.cumsum(block.counts, axis=1)
    lines = len(family.bounds) + 3
    parts: list[str] = [""] * (rows * lines * 4)

    def put(line: int, head: str, tail: str, numbers: Iterable[object]) -> None:
        parts[4 * line :: 4 * lines] = [head] * rows
        parts[4 * line + 1 :: 4 * lines] = texts
        parts[4 * line + 2 :: 4 * lines] = [tail] * rows
        parts[4 * line + 3 :: 4 * lines] = map(str, numbers)

    newline = ""
    for column, bound in enumerate([*(repr(float(b)) for b in family.bounds), "+Inf"]):
        head, tail = f"{newline}{family.name}_bucket{{", f',le="{bound}"}} '
        put(column, head, tail, cumulative[:, column].tolist())
        newline = "\n"
    put(lines - 2, f"\n{family.name}_sum{{", "} ", block.sums.tolist())
    put(lines - 1, f"\n{family.name}_count{{", "} ", cumulative[:, -1].tolist())
    # Every line but a row's first brings the line break of the one before.
    parts[4 * lines :: 4 * lines] = [f"\n{family.name}_bucket{{"] * (rows - 1)
    return ("".join(parts) + "\n").encode()

"""The protocol buffer format, which carries native histograms.

A stream of io.prometheus.client.MetricFamily messages, each after its length. Durations keep the
kernel's own buckets, which are those of schema 3: bucket i of the kernel is bucket i - 160 there.
The one difference is which end of a bucket is closed (the kernel's lower, Prometheus's upper), which
matters only to durations of exactly a power of 2^(1/8).

Source: https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from axon.export.families import Counts, Family, Histograms, Scalars
from axon.export.varint import (
    delimited,
    double,
    integer,
    lengths,
    offsets,
    scatter,
    varint,
    varints,
    zigzag,
    zigzags,
)

PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
SCHEMA = 3
_FIRST = -159  # schema 3's index of the kernel's bucket 1, whose upper bound is 2^(1/8 - 20) s
_ZERO_THRESHOLD = 2.0**-20
_KINDS = {"counter": 0, "gauge": 1}
_HISTOGRAM = 4
_WIDEST_GAP = 2  # so many empty buckets cost less than the beginning of another span
_ROWS = 512

_DOUBLE = struct.Struct("<d").pack


def protobuf(families: Iterable[Family]) -> Iterator[bytes]:
    """Yield each family as one delimited message."""
    for family in families:
        if isinstance(family, Scalars):
            name = family.name + ("_total" if family.kind == "counter" else "")
            kind, metrics = _KINDS[family.kind], _scalars(family)
        else:
            name, kind, metrics = family.name, _HISTOGRAM, _histograms(family)
        head = delimited(1, name.encode()) + delimited(2, family.help.encode()) + integer(3, kind)
        body = [head, *metrics]
        yield varint(sum(map(len, body)))
        yield from body


def _scalars(family: Scalars) -> Iterator[bytes]:
    field = 3 if family.kind == "counter" else 2
    for labels, value in zip(family.labels, family.values, strict=True):
        yield delimited(4, labels.wire + delimited(field, double(1, float(value))))


def _histograms(family: Histograms) -> Iterator[bytes]:
    for start in range(0, len(family.labels), _ROWS):
        block = slice(start, start + _ROWS)
        content = family.read(block)
        classic = _classic(family.bounds, content.counts)
        totals = content.counts.sum(axis=1).tolist()
        sums = content.sums.tolist()
        natives = [b""] * len(totals) if content.native is None else _native(content.native)
        out: list[bytes] = []
        for row, labels in enumerate(family.labels[block]):
            number = varint(totals[row])
            histogram = b"".join(
                (b"\x08", number, b"\x11", _DOUBLE(sums[row]), classic[row], natives[row])
            )
            metric = b"".join((labels.wire, b"\x3a", varint(len(histogram)), histogram))
            out += (b"\x22", varint(len(metric)), metric)
        yield b"".join(out)


def _classic(bounds: Sequence[float], counts: Counts) -> list[bytes]:
    """Return each row's Bucket messages (field 3): cumulative_count 1, upper_bound 2.

    A message is 0x1a, its length, 0x08, the count, 0x11 and the eight bytes of the bound.
    """
    cumulative = np.cumsum(counts[:, :-1], axis=1)
    rows, columns = cumulative.shape
    numbers = cumulative.ravel()
    sizes = lengths(numbers)
    ends = offsets(sizes + 12)
    starts = ends[:-1]
    out = np.empty(ends[-1], np.uint8)
    out[starts] = 0x1A
    out[starts + 1] = sizes + 10
    out[starts + 2] = 0x08
    scatter(out, starts + 3, numbers, sizes)
    doubles = np.array(bounds, np.float64).view(np.uint8).reshape(columns, 8)
    bound_at = starts + 3 + sizes
    out[bound_at] = 0x11
    for i in range(8):
        out[bound_at + 1 + i] = np.tile(doubles[:, i], rows)
    data, at = out.tobytes(), ends[::columns].tolist()
    return [data[at[row] : at[row + 1]] for row in range(rows)]


def _native(counts: Counts) -> list[bytes]:
    """Return each row's native part: schema 5, zero_threshold 6, zero_count 7, positive_span 12,
    positive_delta 13. A span is a run of buckets; gaps of up to two empty ones stay within it.
    """
    rows = len(counts)
    buckets = counts[:, 1:].astype(np.int64)
    row_of, column = np.nonzero(_bridged(buckets != 0))
    values = buckets[row_of, column]
    new_row = np.diff(row_of, prepend=-1) != 0
    # Deltas are from bucket to bucket across spans; a row's first is its own count.
    deltas = np.where(new_row, values, np.diff(values, prepend=0))
    delta_bytes, delta_at = varints(zigzags(deltas))
    ends = delta_at[np.searchsorted(row_of, np.arange(rows + 1))].tolist()

    jump = np.where(new_row, column + _FIRST, column - np.roll(column, 1) - 1)
    starts = np.flatnonzero(new_row | (jump != 0))
    runs = np.diff(starts, append=len(column)).tolist()
    jumps = jump[starts].tolist()
    span_at = np.searchsorted(row_of[starts], np.arange(rows + 1)).tolist()

    head = integer(5, zigzag(SCHEMA)) + double(6, _ZERO_THRESHOLD)
    out = []
    for row, zeros in enumerate(counts[:, 0].tolist()):
        parts = [head, b"\x38", varint(zeros)]
        spans = slice(span_at[row], span_at[row + 1])
        parts.extend(map(_span, jumps[spans], runs[spans]))
        if span_at[row] == span_at[row + 1]:
            # A span without buckets is what tells an empty native histogram from a classic one.
            parts.append(delimited(12, b""))
        parts.append(delimited(13, delta_bytes[ends[row] : ends[row + 1]]))
        out.append(b"".join(parts))
    return out


@lru_cache(8192)
def _span(jump: int, length: int) -> bytes:
    """Return a BucketSpan (field 12): offset 1 from the span before, length 2."""
    return delimited(12, integer(1, zigzag(jump)) + integer(2, length))


def _bridged(full: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which buckets are written: those with a count, and short gaps between two of them."""
    index = np.arange(full.shape[1])
    before = np.maximum.accumulate(np.where(full, index, -1), axis=1)
    after = np.where(full, index, full.shape[1] * 2)
    after = np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1]
    between: NDArray[np.bool_] = (before >= 0) & (after < full.shape[1])
    return full | (between & (after - before - 1 <= _WIDEST_GAP))

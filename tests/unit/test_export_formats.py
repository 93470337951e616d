"""The exposition formats, held against other people's parsers and a decoder of the wire format."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from prometheus_client import parser as classic_parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from axon.export import buckets, native, text
from axon.export.families import Block, Family, Histograms, Scalars
from axon.export.labels import NO_LABELS, Labels
from axon.export.native import protobuf
from axon.export.negotiate import negotiate
from axon.export.varint import varint, varints, zigzag, zigzags
from axon.identity.printable import printable

HOSTILE = 'a\\b"c\nd\u2028é\udcff{},= # EOF'


def durations(rows: int, *, seed: int = 1, fill: float = 0.2) -> tuple[Histograms, Block]:
    """Return a duration family with random kernel buckets and hostile labels, and its content."""
    rng = np.random.default_rng(seed)
    hist = rng.integers(0, 1000, (rows, 216), dtype=np.uint64)
    hist *= rng.random((rows, 216)) < fill
    labels = [
        Labels.of([("service_name", HOSTILE), ("http_route", f"/{i}"), ("empty", "")])
        for i in range(rows)
    ]
    content = Block(buckets.classic(hist), rng.random(rows) * 1e4, hist)

    def read(block: slice) -> Block:
        return Block(content.counts[block], content.sums[block], hist[block])

    name = "http_server_request_duration_seconds"
    help_text = "Time from \\ to \n the end."
    return Histograms(name, help_text, labels, buckets.SECONDS, read, unit="seconds"), content


def families() -> list[Family]:
    """Return one family of each kind."""
    return [
        durations(300)[0],
        Scalars("axon_lost", "Lost.", "counter", [Labels.of([("reason", "gap")])], [3]),
        Scalars("axon_memory_bytes", "Memory.", "gauge", [NO_LABELS], np.array([1.5e9])),
    ]


def test_openmetrics_is_what_its_parser_reads() -> None:
    """Every number and label comes out of the OpenMetrics parser as it went in."""
    document = b"".join(text.openmetrics(families())).decode()
    read: Any = openmetrics_parser.text_string_to_metric_families
    parsed = {f.name: f for f in read(document)}
    check(parsed, "axon_lost")
    assert parsed["http_server_request_duration_seconds"].unit == "seconds"


def test_the_text_format_is_what_its_parser_reads() -> None:
    """The same in the format 0.0.4, which ends without a mark."""
    document = b"".join(text.prometheus(families())).decode()
    assert "# EOF" not in document.splitlines()
    read: Any = classic_parser.text_string_to_metric_families
    parsed = {f.name: f for f in read(document)}
    check(parsed, "axon_lost")


def check(parsed: dict[str, Any], counter: str) -> None:
    """Compare parsed families with families()."""
    family, content = durations(300)
    samples = parsed[family.name].samples
    assert len(samples) == 300 * (14 + 1 + 2)
    shown = printable(HOSTILE)
    assert {s.labels["service_name"] for s in samples} == {shown}
    assert all("empty" not in s.labels for s in samples)
    assert content.native is not None
    for row in range(300):
        mine = [s for s in samples if s.labels["http_route"] == f"/{row}"]
        values = {(s.name.removeprefix(family.name), s.labels.get("le")): s.value for s in mine}
        total = int(content.native[row].sum())
        assert values["_count", None] == values["_bucket", "+Inf"] == total
        assert values["_sum", None] == content.sums[row]
        below = buckets.KERNEL_SECONDS <= 0.25
        assert values["_bucket", "0.25"] == int(content.native[row][below].sum())
    assert [(s.name, s.value) for s in parsed[counter].samples] == [("axon_lost_total", 3.0)]
    assert [s.value for s in parsed["axon_memory_bytes"].samples] == [1.5e9]


def test_classic_buckets_are_never_too_fast() -> None:
    """A classic bucket holds only requests that were wholly below its bound, and nearly all."""
    effective = buckets.in_effect()
    assert np.all(effective <= buckets.SECONDS)
    assert np.all(effective > np.array(buckets.SECONDS) / 2 ** (1 / 8))
    assert effective[9] == 1.0
    one_each = np.ones((1, 216), np.uint64)
    assert buckets.classic(one_each).sum() == 216


def test_empty_bodies_are_counted() -> None:
    """What the kernel has no size for is in the first bucket; the top one has no bound."""
    kernel = np.zeros((1, 12), np.uint64)
    kernel[0, 1], kernel[0, 11] = 2, 3
    counts = buckets.sizes(kernel, np.array([9], np.uint64))
    assert counts[0, 0] == 6
    assert counts[0, -1] == 3
    assert counts.sum() == 9
    assert buckets.SIZES[0] == 256
    assert buckets.SIZES[-1] == 64 << 20


# --- protocol buffers --------------------------------------------------------------------------------


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode one varint; return it and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def unzigzag(value: int) -> int:
    """Decode a sint."""
    return (value >> 1) ^ -(value & 1)


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Decode a message into its fields."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
            yield key >> 3, value
        elif key & 7 == 1:
            yield key >> 3, struct.unpack_from("<d", data, at)[0]
            at += 8
        else:
            assert key & 7 == 2
            size, at = read_varint(data, at)
            assert at + size <= len(data)
            yield key >> 3, data[at : at + size]
            at += size


def many(data: bytes, field: int) -> list[Any]:
    """Return every value of a field."""
    return [value for number, value in fields(data) if number == field]


def one(data: bytes, field: int) -> Any:
    """Return the only value of a field."""
    (value,) = many(data, field)
    return value


def native_buckets(histogram: bytes) -> dict[int, int]:
    """Return a histogram's native buckets by their index."""
    deltas, packed, at = [], one(histogram, 13), 0
    while at < len(packed):
        value, at = read_varint(packed, at)
        deltas.append(unzigzag(value))
    counts = np.cumsum(deltas).tolist()
    found, index, taken = {}, 0, 0
    for span in many(histogram, 12):
        if not span:
            continue
        index += unzigzag(one(span, 1))
        for _ in range(one(span, 2)):
            found[index] = counts[taken]
            index, taken = index + 1, taken + 1
    assert taken == len(counts)
    return found


@pytest.mark.parametrize("fill", [0.0, 0.02, 0.3, 1.0])
def test_native_histograms_hold_the_kernels_buckets(fill: float) -> None:
    """Decoded, every bucket is at its index of schema 3 and every number is as it was."""
    family, content = durations(1100, fill=fill)
    assert content.native is not None
    document = b"".join(protobuf([family]))
    size, at = read_varint(document, 0)
    assert at + size == len(document)
    message = document[at:]
    assert one(message, 1) == family.name.encode()
    assert one(message, 3) == 4
    metrics = many(message, 4)
    assert len(metrics) == 1100
    for row in range(0, 1100, 7):
        labels = {one(pair, 1): one(pair, 2).decode() for pair in many(metrics[row], 1)}
        assert labels[b"http_route"] == f"/{row}"
        histogram = one(metrics[row], 7)
        hist = content.native[row]
        assert one(histogram, 1) == hist.sum()
        assert one(histogram, 2) == content.sums[row]
        assert unzigzag(one(histogram, 5)) == 3
        assert one(histogram, 6) == 2.0**-20
        assert one(histogram, 7) == hist[0]
        got = {index: count for index, count in native_buckets(histogram).items() if count}
        expected = {i - 160: int(n) for i, n in enumerate(hist) if n and i}
        assert got == expected
        classic = {one(b, 2): one(b, 1) for b in many(histogram, 3)}
        assert list(classic) == list(buckets.SECONDS)
        assert classic[0.25] == hist[buckets.KERNEL_SECONDS <= 0.25].sum()


def test_the_index_of_a_bucket_is_that_of_schema_3() -> None:
    """Bucket i of schema 3 ends at 2^(i/8): the kernel's bucket 160 ends at one second."""
    assert buckets.KERNEL_SECONDS[160] == 1.0
    assert native._FIRST + 159 == 0


def test_protobuf_scalars() -> None:
    """Counters keep their suffix there, and every value is a double."""
    document = b"".join(protobuf(families()[1:]))
    size, at = read_varint(document, 0)
    counter = document[at : at + size]
    assert one(counter, 1) == b"axon_lost_total"
    assert one(counter, 3) == 0
    assert one(one(one(counter, 4), 3), 1) == 3.0
    size, at = read_varint(document, at + size)
    gauge = document[at : at + size]
    assert one(one(one(gauge, 4), 2), 1) == 1.5e9


@given(hnp.arrays(np.uint64, hnp.array_shapes(max_dims=1, min_side=0)))
def test_arrays_of_varints_are_varints(values: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
    """Encoding by the array is encoding one by one."""
    data, ends = varints(values)
    parts = [data[a:b] for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    assert parts == [varint(value) for value in values.tolist()]


@given(st.integers(-(2**63), 2**63 - 1))
def test_zigzag_keeps_the_sign(value: int) -> None:
    """Signed integers survive, one by one and by the array."""
    assert unzigzag(zigzag(value)) == value
    assert zigzags(np.array([value])).tolist() == [zigzag(value)]


# --- what a scraper gets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", text.PROMETHEUS),
        ("*/*", text.PROMETHEUS),
        ("text/html, application/json", text.PROMETHEUS),
        # Prometheus 2.42, without and with native histograms
        (
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
                "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            text.OPENMETRICS,
        ),
        (
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                "encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,"
                "application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            native.PROTOBUF,
        ),
        ("application/vnd.google.protobuf;encoding=text, text/plain;q=0.1", text.PROMETHEUS),
        ("application/openmetrics-text;version=2.0.0;q=0.9,text/plain;q=0.1", text.PROMETHEUS),
        ("text/plain;q=0.2,application/openmetrics-text;q=0.9", text.OPENMETRICS),
        (";;;=,q=x;," * 2000, text.PROMETHEUS),
    ],
)
def test_negotiation(accept: str, content_type: str) -> None:
    """The scraper's favourite among what there is; text 0.0.4 for everyone else."""
    assert negotiate(accept)[0] == content_type


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_twenty_thousand_series_are_quick(accept: str) -> None:
    """20,000 series take at most a tenth of a second; the best of three, as machines are shared."""
    family, _ = durations(20_000 // 17 + 1)
    writer = negotiate(accept)[1]
    taken, sizes = [], []
    for _ in range(3):
        start = time.perf_counter()
        sizes.append(sum(map(len, writer([family]))))
        taken.append(time.perf_counter() - start)
    assert min(sizes) > 1_000_000
    assert min(taken) < 0.1

"""How numbers and texts are shown."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.view import format as fmt

WORTH = {
    "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400,
    "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18,
    "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
}  # fmt: skip


def worth(text: str) -> float:
    """Return the number that a shown text stands for."""
    match = re.fullmatch(r"([0-9.]+)(\D*)", text)
    assert match, text
    return float(match[1]) * WORTH[match[2]]


durations = st.one_of(
    st.floats(min_value=0, max_value=1.8e10), st.floats(min_value=1e-6, max_value=200)
)
rates = st.one_of(st.floats(min_value=0, max_value=1e12), st.floats(min_value=0, max_value=2e4))
sizes = st.one_of(st.floats(min_value=0, max_value=1.8e19), st.floats(min_value=0, max_value=1e7))
counts = st.integers(min_value=0, max_value=10**15)


@given(durations)
def test_a_duration_fits_its_width(value: float) -> None:
    """No duration, up to the longest that 64 bits of nanoseconds hold, is wider than its column."""
    assert len(fmt.duration(value)) <= fmt.DURATION_WIDTH
    assert len(fmt.exact_duration(value)) <= fmt.EXACT_DURATION_WIDTH


@given(rates)
def test_a_rate_fits_its_width(value: float) -> None:
    """No rate up to a million million a second is wider than its column."""
    assert len(fmt.rate(value)) <= fmt.RATE_WIDTH


@given(sizes)
def test_a_size_fits_its_width(value: float) -> None:
    """No number of bytes that 64 bits hold is wider than its column."""
    assert len(fmt.size(value)) <= fmt.SIZE_WIDTH


@given(counts)
def test_a_count_fits_its_width(value: int) -> None:
    """No count up to 10^15 is wider than its column."""
    assert len(fmt.count(value)) <= fmt.COUNT_WIDTH


@given(st.floats(min_value=0, max_value=1))
def test_a_share_fits_its_width(value: float) -> None:
    """No percentage is wider than its column."""
    assert len(fmt.share(value)) <= fmt.SHARE_WIDTH


@given(st.floats(min_value=1e-6, max_value=1e5))
def test_a_duration_is_right_to_its_digits(value: float) -> None:
    """What is read back differs by at most half a unit of the last digit shown."""
    assert worth(fmt.duration(value)) == pytest.approx(value, rel=0.05)
    assert worth(fmt.exact_duration(value)) == pytest.approx(value, rel=0.005)


@given(st.floats(min_value=0.1, max_value=1e12))
def test_a_rate_is_right_to_its_digits(value: float) -> None:
    """A rate that is read back differs by at most half a unit of the last digit shown."""
    shown = worth(fmt.rate(value))
    assert shown == pytest.approx(value, rel=0.005, abs=0.0501)


@given(st.floats(min_value=1, max_value=1e18))
def test_a_size_is_right_to_its_digits(value: float) -> None:
    """A size that is read back differs by at most half a unit of the last digit shown."""
    assert worth(fmt.size(value)) == pytest.approx(value, rel=0.05, abs=0.5)


@pytest.mark.parametrize(
    ("show", "values"),
    [
        (fmt.duration, durations),
        (fmt.exact_duration, durations),
        (fmt.size, sizes),
        (fmt.rate, rates),
    ],
)
def test_more_is_never_shown_as_less(
    show: Callable[[float], str], values: st.SearchStrategy[float]
) -> None:
    """The order of two values is the order of what is shown, also where the unit changes."""

    @given(values, values)
    def check(a: float, b: float) -> None:
        low, high = sorted((a, b))
        shown = [show(low), show(high)]
        if not any("<" in text for text in shown):
            assert worth(shown[0]) <= worth(shown[1])

    check()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0s"), (2e-7, "<1µs"), (1e-6, "1.0µs"), (9.96e-6, "10µs"), (9.994e-4, "999µs"),
        (9.996e-4, "1.0ms"), (0.0123, "12ms"), (1.5, "1.5s"), (112, "112s"), (3600, "60m"),
    ],
)  # fmt: skip
def test_durations_in_two_digits(value: float | None, shown: str) -> None:
    """A duration has two digits, three where it has no point, and the unit that makes it short."""
    assert fmt.duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0"), (0.01, "<0.1"), (0.3, "0.3"), (12.34, "12.3"), (99.96, "100"),
        (1234.4, "1234"), (9999.7, "10.0k"), (123_456, "123k"), (2_500_000, "2.50M"),
    ],
)  # fmt: skip
def test_rates(value: float | None, shown: str) -> None:
    """A rate is whole from a hundred on and in thousands from ten thousand on."""
    assert fmt.rate(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0%"), (0.0001, "<.1%"), (0.0123, "1.2%"), (0.0996, "10%"), (0.5, "50%"),
        (0.999, ">99%"), (1, "100%"),
    ],
)  # fmt: skip
def test_shares(value: float | None, shown: str) -> None:
    """Only no failure at all is 0 % and only nothing but failures is 100 %."""
    assert fmt.share(value) == shown


@given(st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True))
def test_a_part_is_never_none_or_all(part: float) -> None:
    """A share between none and all is never shown as none or all."""
    assert fmt.share(part) not in {"0%", "0.0%", "100%"}


@given(st.text(alphabet=st.characters()))
def test_a_safe_text_is_printable_ascii(text: str) -> None:
    """No text, control characters and lone surrogates included, reaches the terminal as it is."""
    shown = fmt.safe(text.encode("utf-8", "replace").decode("utf-8", "surrogateescape"))
    assert shown.isascii()
    assert shown == "" or shown.isprintable()


@given(st.binary())
def test_bytes_of_a_path_are_percent_encoded(raw: bytes) -> None:
    """Bytes that are no UTF-8 are shown as the percent-encoded bytes that they are."""
    shown = fmt.safe(raw.decode("utf-8", "surrogateescape"))
    assert shown.isascii()
    assert (
        fmt.safe(b"/caf\xc3\xa9\x1b[2J\xff".decode("utf-8", "surrogateescape"))
        == "/caf%C3%A9%1B[2J%FF"
    )


@given(st.text(alphabet="abc/{}"), st.integers(min_value=0, max_value=40))
def test_a_clipped_text_fits(text: str, width: int) -> None:
    """A clipped text is as wide as it may be, and unchanged where it fits."""
    for clip in (fmt.clip, fmt.clip_path):
        shown = clip(text, width)
        assert len(shown) == min(len(text), width)
        if len(text) <= width:
            assert shown == text


def test_a_clipped_path_keeps_both_ends() -> None:
    """A path loses its middle."""
    assert fmt.clip_path("/api/v2/customers/{id}/orders/{id}", 20) == "/api/v2…/orders/{id}"


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234, "1,234 rows")]
)
def test_plurals(number: int, shown: str) -> None:
    """Only one of a thing has no plural."""
    assert fmt.plural(number, "row") == shown

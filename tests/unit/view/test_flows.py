"""Requests as lines of text."""

from __future__ import annotations

import re
import time

import pytest

from axon.api.schema import End
from axon.view import flows
from axon.view.flows import COMPACT, TABLE, WIDE, Lines
from tests.unit.view import samples


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show times as they are in Greenwich."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_a_compact_line() -> None:
    """A line says when, which way, how it ended, how long it took, who, and what."""
    line = Lines(COMPACT, colours=False).line(samples.flow())
    assert line == "08:26:40.123  in   200  1.23ms  nginx.service     GET     /users/42"


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({"status": None, "error": "reset", "ttfb": None}, "/users/42 (reset)"),
        ({"error": "incomplete"}, "/users/42 (incomplete)"),
        ({"path": None}, "/users/{id}"),
        ({"path": "/" + "a" * 255, "path_cut": True}, "a…"),
        ({"path": "/\x1b[31m"}, "/%1B[31m"),
        (
            {"verdict": "dropped", "policy": "default/web", "denial": "rule", "status": 403},
            "/users/42 (denied by default/web: rule)",
        ),
        (
            {
                "verdict": "dropped",
                "policy": "a/b",
                "denial": "path",
                "status": None,
                "error": "reset",
            },
            "/users/42 (reset by a/b: path)",
        ),
        (
            {"verdict": "audit", "policy": "default/web", "denial": "rule"},
            "/users/42 (default/web would deny it: rule)",
        ),
        ({"verdict": "forwarded", "policy": "default/web"}, "/users/42"),
    ],
)
def test_what_stands_behind_a_path(changes: dict[str, object], ending: str) -> None:
    """Without a path the route stands for it; a cut one and a failure say so; nothing hostile passes."""
    assert Lines(COMPACT, colours=False).line(samples.flow(**changes)).endswith(ending)


@pytest.mark.parametrize("fields", [COMPACT, TABLE, WIDE])
def test_columns_stay_in_line(fields: tuple[flows.Field, ...]) -> None:
    """Once a column has become wider it stays so, and the lines below it with it."""
    lines = Lines(fields, colours=False)
    wide = samples.flow(service="docker:a-rather-long-name-of-a-service", path="/x")
    lines.line(wide)
    again = [lines.line(wide), lines.line(samples.flow(path="/x")), lines.heading()]
    places = {line.rindex("/x") if "/x" in line else line.rindex("PATH") for line in again}
    assert len(places) == 1


def test_a_wide_table_leaves_nothing_out() -> None:
    """The wide form shows both ends, sizes, process, connection, host, route and why it is there;
    and what policies made of it.
    """
    flow = samples.flow(
        verdict="forwarded",
        policy="default/web",
        rule="ingress[0].httpRules[2]",
        caller="app=front",
    )
    line = Lines(WIDE, colours=False).line(flow)
    for text in (
        "10.0.0.7:40312", "10.0.0.1:80", "80B", "700B", "1.10ms", "4242", "nginx", "1f#3",
        "shop.example", "/users/{id}", "/users/42", "sampled", "forwarded",
        "default/web ingress[0].httpRules[2]", "app=front",
    ):  # fmt: skip
        assert text in line


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": 200}, None),
        ({"status": 404}, "33"),
        ({"status": 503}, "31"),
        ({"status": None, "error": "timeout"}, "31"),
    ],
)
def test_colours_are_few(changes: dict[str, object], code: str | None) -> None:
    """A refused request is amber, a failed one red, an ordinary one has no colour."""
    line = Lines(COMPACT, colours=True).line(samples.flow(**changes))
    codes = set(re.findall(r"\x1b\[(\d+)m", line)) - {"0", "2"}
    assert codes == ({code} if code else set())
    plain = re.sub(r"\x1b\[\d+m", "", line)
    assert plain == Lines(COMPACT, colours=False).line(samples.flow(**changes))


def test_addresses_of_both_versions() -> None:
    """An IPv6 address stands in brackets before its port."""
    assert flows.end(End(address="::1", port=80)) == "[::1]:80"
    assert flows.end(End(address="10.0.0.1", port=80)) == "10.0.0.1:80"


@pytest.mark.parametrize(
    ("unix", "shown"), [(0.0004, "00:00:00.000"), (59.9996, "00:01:00.000"), (1.5, "00:00:01.500")]
)
def test_times_are_rounded_once(unix: float, shown: str) -> None:
    """Milliseconds never overflow into a fourth digit."""
    assert flows.clock(unix) == shown

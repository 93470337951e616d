"""Log lines: one event each, in text and in JSON, whatever is in the fields."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from axon import log


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(form: str, level: str = "info") -> tuple[log.Log, io.StringIO]:
    """Configure logging into a string and return a log with it."""
    stream = io.StringIO()
    log.configure(level=level, form=form, stream=stream)
    return log.get("test"), stream


def test_text_lines_hold_event_and_fields() -> None:
    """A text line has time, severity, source, event and fields, quoted where needed."""
    source, stream = lines("text")
    source.info("attached", programs=8, path="/a b", empty="", hostile='x\n2026 error: "y"')
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert "info    test: attached programs=8 " in line
    assert 'path="/a b" empty="" hostile="x\\n2026 error: \\"y\\""' in line


def test_json_lines_are_json() -> None:
    """A JSON line keeps numbers as numbers and cannot be forged by a field's name or value."""
    source, stream = lines("json")
    source.warning("slow", seconds=1.5, level="info", path="a\nb", nothing=None)
    record = json.loads(stream.getvalue())
    assert record["event"] == "slow"
    assert record["level"] == "warning"
    assert (record["seconds"], record["path"], record["nothing"]) == (1.5, "a\nb", None)


def test_less_severe_events_are_left_out() -> None:
    """What is below the level is not written."""
    source, stream = lines("text", level="warning")
    source.info("no")
    source.debug("no")
    source.error("yes")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_keeps_its_traceback_on_one_line(form: str) -> None:
    """A traceback is a field, so that a collector of lines does not tear it apart."""
    source, stream = lines(form)
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        source.exception("failed", what="division")
    assert stream.getvalue().count("\n") == 1
    assert "ZeroDivisionError" in stream.getvalue()


def test_other_libraries_are_heard() -> None:
    """A warning from a library takes the same form."""
    _, stream = lines("json")
    logging.getLogger("aiohttp.server").error("broke %s", "here")
    assert json.loads(stream.getvalue())["event"] == "broke here"

"""Which format a scraper gets: what its Accept header likes best of what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from axon.export import native, text
from axon.export.families import Family

Writer = Callable[[Iterable[Family]], Iterator[bytes]]

_TEXT = (text.PROMETHEUS, text.prometheus)
_OPENMETRICS = (text.OPENMETRICS, text.openmetrics)
_PROTOBUF = (native.PROTOBUF, native.protobuf)
_LONGEST = 4096


def negotiate(accept: str) -> tuple[str, Writer]:
    """Return the content type and the writer for an Accept header (RFC 9110, 12.5.1).

    Text of version 0.0.4 is for everyone who asks for nothing that Axon has.
    """
    best: tuple[str, Writer] = _TEXT
    best_quality = 0.0
    for item in accept[:_LONGEST].split(","):
        kind, *rest = (part.strip().lower() for part in item.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        quality = 1.0
        with suppress(ValueError):
            quality = float(parameters.get("q", "1"))
        match = _writer(kind, parameters)
        if match and quality > best_quality:
            best, best_quality = match, quality
    return best


def _writer(kind: str, parameters: dict[str, str]) -> tuple[str, Writer] | None:
    if kind == "application/vnd.google.protobuf":
        delimited = parameters.get("encoding") == "delimited"
        family = parameters.get("proto") == "io.prometheus.client.metricfamily"
        return _PROTOBUF if delimited and family else None
    if kind == "application/openmetrics-text":
        return _OPENMETRICS if parameters.get("version", "1.0.0") == "1.0.0" else None
    return _TEXT if kind in ("text/plain", "text/*", "*/*") else None

"""The API's paths, in one table that the server, the client and the OpenAPI document are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from axon.api import policy, schema
from axon.api.filters import DESCRIPTIONS, METHODS, ROLES

BASE = "/api/v1"
JSON = "application/json"
LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, or with `place` "path" a part of the path."""

    name: str
    about: str
    shape: Mapping[str, Any]
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `answers` maps a status to the type of its body."""

    name: str
    method: str
    path: str
    about: str
    answers: Mapping[int, Any]
    parameters: tuple[Parameter, ...] = ()
    content: str = JSON
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def only_on_socket(self) -> bool:
        """Whether it is refused on TCP, where anybody may ask: it does something, and tells not only."""
        return self.method != "GET"


MOST_RECENT = 100_000
FASTEST = 10_000.0

_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "method": {"type": "string", "example": METHODS[1]},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "server_port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "min_duration": {"type": "number", "minimum": 0},
    "role": {"type": "string", "enum": list(ROLES)},
    "error": {"type": "boolean"},
    "verdict": {"type": "string", "example": "dropped"},
}
_FILTERS = (
    *(
        Parameter(name, about, _SHAPES.get(name, {"type": "string"}))
        for name, about in DESCRIPTIONS.items()
    ),
    Parameter(
        "not",
        "Names of filters above whose sense is turned round, with commas between.",
        {"type": "string"},
    ),
)
_BY_TCP = "On TCP: it is asked for on the agent's socket only."
_BAD_FILTER = "A filter cannot be used; the message says why."

ENDPOINTS = (
    Endpoint(
        "snapshot",
        "GET",
        f"{BASE}/snapshot",
        "Every endpoint with its rates, errors and percentiles over the window.",
        {200: schema.Snapshot},
        failures={503: "The agent has not looked yet."},
    ),
    Endpoint(
        "flows",
        "GET",
        f"{BASE}/flows",
        "Requests as they happen, a JSON object a line: begin, then flows, then end.",
        {200: schema.Begin | schema.Flow | schema.Finish},
        (
            *_FILTERS,
            Parameter(
                "last",
                "Begin with up to so many of the newest flows held in memory.",
                {"type": "integer", "minimum": 0, "maximum": MOST_RECENT, "default": 0},
            ),
            Parameter(
                "limit",
                "End after so many flows; 0: never.",
                {"type": "integer", "minimum": 0, "default": 0},
            ),
            Parameter(
                "rate",
                "Most flows a second.",
                {"type": "number", "minimum": 0.1, "maximum": FASTEST, "default": 1000},
            ),
        ),
        content=LINES,
        failures={400: _BAD_FILTER, 503: "There are as many observers as there can be."},
    ),
    Endpoint(
        "finish",
        "DELETE",
        f"{BASE}/flows/{{id}}",
        "End a stream of flows, which then writes its last line.",
        {200: schema.Finish},
        (
            Parameter(
                "id", "From the stream's first line.", {"type": "integer", "minimum": 0}, "path"
            ),
        ),
        failures={403: _BY_TCP, 404: "There is no such stream; it may have ended."},
    ),
    Endpoint(
        "recent",
        "GET",
        f"{BASE}/flows/recent",
        "The newest flows held in memory that pass the filters.",
        {200: schema.Recent},
        (
            *_FILTERS,
            Parameter(
                "last",
                "How many.",
                {"type": "integer", "minimum": 0, "maximum": MOST_RECENT, "default": 20},
            ),
        ),
        failures={400: _BAD_FILTER},
    ),
    Endpoint(
        "status",
        "GET",
        f"{BASE}/status",
        "The agent, its programs and its tables.",
        {200: schema.Status},
    ),
    Endpoint(
        "config",
        "GET",
        f"{BASE}/config",
        "The settings in force and where each came from.",
        {200: schema.Config},
    ),
    Endpoint(
        "policies",
        "GET",
        f"{BASE}/policies",
        "The policies in force, what they select and decided, and why newer ones are not in force.",
        {200: policy.Policies},
    ),
    Endpoint(
        "look",
        "POST",
        f"{BASE}/policies/look",
        "Take up what has changed in the policies' files, at once where their lock is held.",
        {200: policy.Policies},
        failures={403: _BY_TCP},
    ),
    Endpoint(
        "traffic",
        "GET",
        f"{BASE}/traffic",
        "Who has asked whom for what in the last hours, as policies see it.",
        {200: policy.Traffic},
    ),
    Endpoint("openapi", "GET", f"{BASE}/openapi.json", "This document.", {200: dict[str, Any]}),
    Endpoint(
        "healthz",
        "GET",
        "/healthz",
        "Whether the agent does what it should: attached, its tables readable, policies kept up.",
        {200: schema.Health, 503: schema.Health},
    ),
    Endpoint(
        "readyz",
        "GET",
        "/readyz",
        "Whether the programs are attached and have been read once.",
        {200: schema.Health, 503: schema.Health},
    ),
)

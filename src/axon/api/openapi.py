"""The OpenAPI 3.1 document, made from the table of endpoints and the types of the answers."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from axon import __version__
from axon.api import schema
from axon.api.endpoints import ENDPOINTS, JSON, Endpoint, Parameter

_REFERENCE = "#/components/schemas/{name}"


@cache
def document() -> bytes:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(build()), indent=1)


def build() -> dict[str, Any]:
    """Return the document."""
    answers = [(endpoint, status) for endpoint in ENDPOINTS for status in endpoint.answers]
    types = [endpoint.answers[status] for endpoint, status in answers]
    shapes, components = msgspec.json.schema_components(
        [*types, schema.Problem], ref_template=_REFERENCE
    )
    by_answer = {
        (endpoint.name, status): shape
        for (endpoint, status), shape in zip(answers, shapes, strict=False)
    }
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        operation = _operation(endpoint, by_answer, shapes[-1])
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Axon",
            "description": "Every HTTP request on this host.",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(
    endpoint: Endpoint, shapes: dict[tuple[str, int], Any], problem: Any
) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in endpoint.answers:
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {endpoint.content: {"schema": shapes[endpoint.name, status]}},
        }
    for status, about in endpoint.failures.items():
        responses[str(status)] = {
            "description": about,
            "content": {JSON: {"schema": problem}},
        }
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.about,
        "responses": responses,
    }
    if endpoint.parameters:
        operation["parameters"] = [_parameter(one) for one in endpoint.parameters]
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.about,
        "schema": dict(parameter.shape),
    }

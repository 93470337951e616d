"""The forms of the API's answers, and what every request goes through."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from axon.api import schema
from axon.api.endpoints import JSON
from axon.api.filters import QueryError
from axon.api.source import BusyError
from axon.log import get

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

encode = msgspec.json.Encoder().encode
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_log = get("api")


def answer(body: bytes, status: int = 200) -> web.Response:
    """Return encoded JSON."""
    return web.Response(body=body, status=status, content_type=JSON, headers=SECURITY)


def problem(status: int, message: str) -> web.Response:
    """Return why a request is refused."""
    return answer(encode(schema.Problem(error=message)), status)


def health(state: schema.Health) -> web.Response:
    """Return a state of health: 200 for well, 503 for ill."""
    return answer(encode(state), 200 if state.ok else 503)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever goes wrong in the API's own form."""
    try:
        return await handler(request)
    except QueryError as error:
        return problem(400, str(error))
    except BusyError as error:
        return problem(503, str(error))
    except web.HTTPMethodNotAllowed as error:
        return problem(405, f"{request.path} takes {', '.join(sorted(error.allowed_methods))}.")
    except web.HTTPException as error:
        return problem(error.status, f"{request.path}: {error.reason}")
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 - one request's fault must not take the others' answers away
        _log.exception("a request failed", path=request.path)
        return problem(500, "The agent failed at this; its log says how.")


@web.middleware
async def by_address(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse names in Host: a page in a browser must not reach the API by a name that it controls.

    Source: https://en.wikipedia.org/wiki/DNS_rebinding
    """
    try:
        host = request.url.host or ""
        if host.lower() != "localhost":
            ipaddress.ip_address(host)
    except ValueError:
        return problem(403, "Ask for this API by its IP address or as localhost.")
    return await handler(request)

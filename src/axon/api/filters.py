"""Which flows a reader wants: as query parameters, and as one checked value."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from axon.errors import AxonError


class QueryError(AxonError):
    """A query parameter cannot be used."""


METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "_OTHER",
)
"""RFC 9110, section 9, and RFC 5789; anything else is _OTHER."""

ROLES = ("server", "client")
VERDICTS = ("forwarded", "audit", "dropped")
LONGEST_PATH = 64
LONGEST_COMMAND = 15

DESCRIPTIONS: Mapping[str, str] = {
    "method": "Request method; several with commas between. Unknown ones are _OTHER.",
    "status": "Status: 404, a class like 5xx, or a range like 400-499.",
    "path": f"Beginning of the path, at most {LONGEST_PATH} bytes; a * at its end changes nothing.",
    "service": "Name of the service that served or sent the request, as the snapshot has it.",
    "address": "Address or network (CIDR) of either end.",
    "port": "Port of either end.",
    "server_port": "Port of the server's end.",
    "min_duration": "Shortest duration, in seconds.",
    "role": "Side that the request was seen on: server or client.",
    "command": f"Command of the process, at most {LONGEST_COMMAND} bytes.",
    "error": "true: only requests answered by 5xx or not completely.",
    "verdict": "What policies made of it: forwarded, audit or dropped; several with commas between.",
}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class FlowFilter:
    """Tests that a flow must all pass; an empty one is none.

    `negate` names the fields whose test is turned round. Made by `parse`, which checks everything.
    """

    method: tuple[str, ...] = ()
    status: str = ""
    path: str = ""
    service: str = ""
    address: str = ""
    port: int | None = None
    server_port: int | None = None
    min_duration: float | None = None
    role: str = ""
    command: str = ""
    error: bool = False
    verdict: tuple[str, ...] = ()
    negate: frozenset[str] = frozenset()

    @property
    def used(self) -> list[str]:
        """The fields that have a test, in the order of the query."""
        return [name for name in DESCRIPTIONS if getattr(self, name) not in _EMPTY]

    @cached_property
    def statuses(self) -> tuple[int, int]:
        """Least and greatest status."""
        return _statuses(self.status)

    @cached_property
    def network(self) -> Network:
        """The network of either end's address."""
        return ipaddress.ip_network(self.address, strict=False)


_EMPTY = ((), "", None, False)


def parse(query: Iterable[tuple[str, str]]) -> FlowFilter:
    """Return the filter that query parameters stand for.

    A field's test is turned round by a parameter `not` with its name; several with commas between.
    Raises QueryError with a message for the user.
    """
    values: dict[str, object] = {}
    negate: set[str] = set()
    for name, text in query:
        if len(text) > 256 or not text.isprintable():
            raise QueryError(f"{name}: the value is too long, or has control characters in it")
        if name == "not":
            negate.update(word for word in text.split(",") if word)
        elif name not in DESCRIPTIONS:
            known = ", ".join(DESCRIPTIONS)
            raise QueryError(f"{name[:64]!r} is no filter; there are {known} and not")
        elif name in values and name not in _LISTS:
            raise QueryError(f"{name} is given twice; one value is what can be looked for")
        else:
            values[name] = _read(name, text, values.get(name, ()))
    if unknown := negate - values.keys():
        raise QueryError(f"not={min(unknown)[:64]} needs a value of that name beside it")
    return FlowFilter(**values, negate=frozenset(negate))  # type: ignore[arg-type]


def to_query(wanted: FlowFilter) -> list[tuple[str, str]]:
    """Return the query parameters that `parse` makes the same filter from."""
    query = []
    for name in wanted.used:
        value = getattr(wanted, name)
        if isinstance(value, tuple):
            value = ",".join(value)
        query.append((name, "true" if value is True else str(value)))
    if wanted.negate:
        query.append(("not", ",".join(sorted(wanted.negate))))
    return query


def _read(name: str, text: str, before: object) -> object:
    if not text:
        raise QueryError(f"{name}: a value is missing")
    if name in _LISTS:
        words = {word.strip() for word in text.split(",")}
        return _LISTS[name](words.union(before if isinstance(before, tuple) else ()))
    return _READERS[name](name, text)


def _text(_: str, text: str) -> str:
    return text


def _port(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise QueryError(f"{name} must be from 1 to 65535, not {text!r}")
    return int(text)


def _error(_: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise QueryError(f"error must be true or false, not {text!r}")
    return text == "true"


def _role(_: str, text: str) -> str:
    if text not in ROLES:
        raise QueryError(f"role must be server or client, not {text!r}")
    return text


def _status(_: str, text: str) -> str:
    _statuses(text)
    return text


def _address(_: str, text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise QueryError(
            f"address must be an IP address or a network like 10.0.0.0/8, not {text!r}"
        ) from None
    return text


def _command(_: str, text: str) -> str:
    if len(text.encode()) > LONGEST_COMMAND:
        raise QueryError(f"command: the kernel keeps {LONGEST_COMMAND} bytes of a command")
    return text


def _methods(words: set[str]) -> tuple[str, ...]:
    return _among("method", {word.upper() for word in words}, METHODS)


def _verdicts(words: set[str]) -> tuple[str, ...]:
    return _among("verdict", {word.lower() for word in words}, VERDICTS)


def _among(name: str, words: set[str], known: Sequence[str]) -> tuple[str, ...]:
    if unknown := words.difference(known):
        raise QueryError(f"{name} must be of {', '.join(known)}, not {min(unknown)!r}")
    return tuple(word for word in known if word in words)


def _statuses(text: str) -> tuple[int, int]:
    if match := re.fullmatch(r"([1-9])xx", text.lower()):
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    match = re.fullmatch(r"([0-9]{3})(?:-([0-9]{3}))?", text)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise QueryError(f"status must be like 404, 5xx or 400-499, not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _seconds(_: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e6:
        raise QueryError(f"min_duration must be a number of seconds, not {text!r}")
    return seconds


def _path(_: str, text: str) -> str:
    prefix = text.removesuffix("*")
    if not prefix.startswith("/") or "*" in prefix:
        raise QueryError(f"path must be the beginning of a path, like /api/, not {text!r}")
    if len(prefix.encode()) > LONGEST_PATH:
        raise QueryError(f"path: the kernel compares {LONGEST_PATH} bytes at most")
    return prefix


_LISTS: Mapping[str, Callable[[set[str]], tuple[str, ...]]] = {
    "method": _methods,
    "verdict": _verdicts,
}

_READERS: Mapping[str, Callable[[str, str], object]] = {
    "status": _status,
    "path": _path,
    "service": _text,
    "address": _address,
    "port": _port,
    "server_port": _port,
    "min_duration": _seconds,
    "role": _role,
    "command": _command,
    "error": _error,
}

"""Hosts that rules name, and methods."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass

_LABELS = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_LONGEST_METHOD = 31
_LONGEST = 253  # RFC 1035 section 2.3.4, without the last dot

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""Methods that are known by name; others may be used too."""


class WordError(ValueError):
    """A host or a method that cannot be used: what is wrong and what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Host:
    """A name or address in lower case, without a port; with `tail` what stands behind `*`: `.b.c`."""

    name: str
    tail: bool = False

    def __str__(self) -> str:
        return f"*{self.name}" if self.tail else self.name

    def matches(self, host: str) -> bool:
        """Return whether a request's host, as `host_of` gives it, is meant."""
        if not self.tail:
            return host == self.name
        return host.endswith(self.name) and len(host) > len(self.name)


def host_of(field: str) -> str:
    """Return a Host field without its port and in lower case."""
    return re.sub(r":[0-9]*$", "", field).lower()


def parse_host(text: str) -> Host:
    """Return a rule's host, exact or `*.` and a name, or raise WordError.

    `*.example.com` means every name below example.com, at any depth, and not example.com itself.
    """
    if text == "*":
        raise WordError("* as a host says nothing", "leave host out for any host")
    if "://" in text or "/" in text:
        name = re.sub(r"^.*://", "", text).partition("/")[0]
        raise WordError("a host has no scheme and no path", f"write {name or 'the name alone'}")
    lower = text.lower()
    if ":" in lower and "%" in lower:
        bare = lower.strip("[]").partition("%")[0]
        raise WordError("no request names the zone of an address", f"write [{bare}]")
    with suppress(ValueError):
        address = ipaddress.ip_address(lower.removeprefix("[").removesuffix("]"))
        if address.version == 6:
            return Host(f"[{address.compressed}]")
    if port := re.search(r":[0-9]*$", text):
        raise WordError(
            f"hosts are compared without a port, and this has {port[0]}",
            f"write {text[: port.start()]}, and the port under ports",
        )
    tail = lower.startswith("*.")
    name = lower[2:] if tail else lower
    if "*" in name:
        raise WordError("* stands only at the beginning of a host", "write *.example.com")
    if name.endswith("."):
        raise WordError("requests name hosts without a dot at the end", f"write {text[:-1]}")
    if not name.isascii():
        with suppress(UnicodeError):
            ascii_name = name.encode("idna").decode()
            raise WordError("hosts are sent as ASCII", f"write {lower[:2] * tail}{ascii_name}")
    if len(name) > _LONGEST or not _LABELS.fullmatch(name):
        raise WordError(f"{text!r} is no host", "write a name such as api.example.com")
    return Host(f".{name}" if tail else name, tail)


def parse_method(text: str) -> str:
    """Return a rule's method, or raise WordError. `*` is not for here."""
    if text.upper() in METHODS and text not in METHODS:
        raise WordError(f"methods have a case, and no client sends {text}", f"write {text.upper()}")
    if text.upper() == "CONNECT":
        raise WordError("the target of CONNECT is no path, and is denied", "remove it")
    if not _TOKEN.fullmatch(text):
        raise WordError(f"{text!r} is no method", 'write a name such as GET, or "*" for any')
    if "*" in text:
        raise WordError(f"{text} would be literal", 'write "*" for any method')
    if len(text) > _LONGEST_METHOD:
        raise WordError(
            f"a method of {len(text)} bytes is denied", f"write one of at most {_LONGEST_METHOD}"
        )
    return text

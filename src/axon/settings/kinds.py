"""The kinds of value a setting can have, and how each is read from text and written back.

Every reader takes what a TOML file, an environment variable or a flag gave and returns the typed
value, or raises ValueError whose message completes the sentence "NAME ...".
"""

from __future__ import annotations

import ipaddress
import math
import re
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

_WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(i?b)?", re.IGNORECASE)
_NONE = ("", "off", "none")
_LONGEST = 4096
_PATH = "PATH"


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP address to listen on. `host` is an IP address without brackets, `port` 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Size(int):
    """A number of bytes; written as `64 MiB`."""

    def __str__(self) -> str:
        for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if self and not self & ((1 << shift) - 1):
                return f"{self >> shift} {unit}"
        return str(int(self))


def _read_bool(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    word = _WORDS.get(raw.strip().lower()) if isinstance(raw, str) else None
    if word is None:
        raise ValueError("must be true or false")
    return word


def _read_int(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    # str.isdigit lets other scripts' digits through and int() refuses more than 4300 of them.
    if isinstance(raw, str) and re.fullmatch(r"[+-]?[0-9][0-9_]{0,30}", raw.strip()):
        return int(raw)
    raise ValueError("must be a whole number")


def _read_float(raw: object) -> float:
    value = math.nan
    if isinstance(raw, (int, float, str)) and not isinstance(raw, bool):
        with suppress(ValueError, OverflowError):
            value = float(raw)
    if not math.isfinite(value):
        raise ValueError("must be a number")
    return value


def _read_text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("must be text, in quotes")  # noqa: TRY004 - one class for every bad value
    if len(raw) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    if not raw.isprintable():
        raise ValueError("has control characters in it")
    return raw


def _read_path(raw: object) -> Path:
    text = _read_text(raw)
    if not text.startswith("/"):
        raise ValueError("must be an absolute path")
    return Path(text)


def _read_listen(raw: object) -> Listen:
    text = _read_text(raw).strip()
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    host = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(
            "must be ADDRESS:PORT with an IP address, like 127.0.0.1:9464, [::1]:9464 "
            "or 0.0.0.0:9464 for every interface, or off"
        ) from None
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("must end in a port from 0 to 65535")
    return Listen(host, int(port))


def _read_size(raw: object) -> Size:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return Size(raw)
    match = _SIZE.fullmatch(raw.strip()) if isinstance(raw, str) and len(raw) < 32 else None
    if match is None:
        raise ValueError("must be a size, like 64MiB")
    return Size(float(match[1]) * _UNITS[match[2].lower()])


_READERS: dict[Any, Callable[[object], object]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_text,
    Path: _read_path,
    Listen: _read_listen,
    Size: _read_size,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How one setting's values are read. Derived from the setting's annotation."""

    read: Callable[[object], object]
    metavar: str
    choices: tuple[str, ...] = ()
    off: bool = False
    """Whether it may be off."""

    def is_path(self, raw: object) -> bool:
        """Return whether a text is a path, and not the word for none."""
        given = isinstance(raw, str) and raw != "" and not (self.off and _is_off(raw))
        return given and self.metavar == _PATH


def kind_of(annotation: Any) -> Kind:
    """Return the kind for a type annotation: a reader's type, `T | None`, Literal or tuple of it."""
    origin = get_origin(annotation)
    if origin is Literal:
        choices = get_args(annotation)
        return Kind(lambda raw: _read_choice(raw, choices), "|".join(choices), choices)
    if origin is tuple:
        choices = get_args(get_args(annotation)[0])
        return Kind(lambda raw: _read_choices(raw, choices), ",".join(choices))
    if origin in (Union, types.UnionType):
        inner = kind_of(next(part for part in get_args(annotation) if part is not type(None)))
        return Kind(lambda raw: None if _is_off(raw) else inner.read(raw), inner.metavar, off=True)
    metavars = {Path: _PATH, Listen: "ADDR:PORT", Size: "SIZE", int: "N", float: "N", str: "TEXT"}
    return Kind(_READERS[annotation], metavars.get(annotation, "true|false"))


def show(value: object) -> str:
    """Return a value as a person would write it in a flag; what is not set is `off`."""
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def _is_off(raw: object) -> bool:
    return isinstance(raw, str) and raw.strip().lower() in _NONE


def _read_choice(raw: object, choices: tuple[str, ...]) -> str:
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return word


def _read_choices(raw: object, choices: tuple[str, ...]) -> tuple[str, ...]:
    words = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(words, list) or not words or len(words) > len(choices):
        raise ValueError(f"must be one or more of {', '.join(choices)}, with commas between")
    picked = {_read_choice(word, choices) for word in words}
    return tuple(choice for choice in choices if choice in picked)

"""The interfaces of this network namespace, asked of the kernel (rtnetlink(7))."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_GETLINK, _NEWLINK, _DONE, _ERROR = 18, 16, 3, 2
_REQUEST, _DUMP = 1, 0x300
_IFNAME, _LINKINFO, _LINK_NETNSID, _INFO_KIND = 3, 18, 37, 1
_UP, _LOOPBACK = 1, 8
_HEAD, _LINK = struct.Struct("=IHHII"), struct.Struct("=BxHiII")


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface. `netns` is its peer's network namespace as this one numbers it, -1 if it is
    this one; `kind` what `ip link add type` calls it, empty for hardware.
    """

    index: int
    name: str
    kind: str
    up: bool
    loopback: bool
    netns: int = -1


def interfaces() -> list[Interface]:
    """Return all interfaces; raise OSError."""
    found: list[Interface] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        body = _LINK.pack(0, 0, 0, 0, 0)
        sock.send(_HEAD.pack(_HEAD.size + len(body), _GETLINK, _REQUEST | _DUMP, 1, 0) + body)
        while True:
            data = sock.recv(1 << 18)
            at = 0
            while at < len(data):
                size, kind, *_ = _HEAD.unpack_from(data, at)
                message = data[at + _HEAD.size : at + size]
                at += -(-size // 4) * 4
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", message)[0]
                    raise OSError(code, "the kernel does not list its interfaces")
                if kind == _NEWLINK:
                    found.append(_interface(message))


def _interface(message: bytes) -> Interface:
    _, _, index, flags, _ = _LINK.unpack_from(message)
    attributes = _attributes(message[_LINK.size :])
    info = _attributes(attributes.get(_LINKINFO, b""))
    netns = attributes.get(_LINK_NETNSID)
    return Interface(
        index=index,
        name=_text(attributes.get(_IFNAME, b"")),
        kind=_text(info.get(_INFO_KIND, b"")),
        up=bool(flags & _UP),
        loopback=bool(flags & _LOOPBACK),
        netns=struct.unpack("=i", netns)[0] if netns else -1,
    )


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + size]
        at += -(-size // 4) * 4
    return found


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode(errors="replace")

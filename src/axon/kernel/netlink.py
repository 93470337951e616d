"""What the kernel tells of interfaces and the filters on them (rtnetlink(7))."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

ETH_P_ALL = 3
"""The protocol of a filter that is for all packets."""
_GETLINK, _NEWLINK, _GETFILTER, _NEWFILTER = 18, 16, 46, 44  # enum of linux/rtnetlink.h
_GETROUTE, _NEWROUTE = 26, 24
_GETQDISC, _NEWQDISC = 38, 36
_INGRESS_QDISC = 0xFFFF_FFF1  # TC_H_INGRESS, TC_H_CLSACT
_DONE, _ERROR = 3, 2
_REQUEST, _ACK, _REPLACE, _CREATE, _DUMP = 1, 4, 0x100, 0x400, 0x300
_IFNAME, _IFLINK, _MASTER, _LINKINFO, _LINK_NETNSID, _INFO_KIND = 3, 5, 10, 18, 37, 1
_TC_KIND, _TC_OPTIONS, _TC_CHAIN = 1, 2, 11
_BPF_CLASSID, _BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 3, 6, 7, 8, 11  # linux/pkt_cls.h
_DIRECT_ACTION = 1  # TCA_BPF_FLAG_ACT_DIRECT
_UP, _LOOPBACK = 1, 8
_ETHERNET = {1, 772}  # ARPHRD_ETHER, ARPHRD_LOOPBACK
_ANNOUNCED = 1 | 8  # RTMGRP_LINK, RTMGRP_TC
_HEAD, _LINK, _TC = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=BxxxiIII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_OUT, _MULTIPATH, _MAIN, _UNICAST = 4, 9, 254, 1
_HOP = struct.Struct("=HBBi")
_MOST = 1 << 18


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface. `netns` is its peer's network namespace as this one numbers it, -1 if it is
    this one; `kind` what `ip link add type` calls it, empty for hardware; `master` the index of what
    it is a port of, `lower` that of what it is on top of in this namespace, 0 for nothing; `uplink`
    whether a default route leads there.
    """

    index: int
    name: str
    kind: str
    up: bool
    loopback: bool
    netns: int = -1
    master: int = 0
    lower: int = 0
    uplink: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of an interface. `program` is the id of a BPF program, `class_id` what it was attached
    with and `name` what it is called; 0 and empty for other kinds. `protocol` is of the packets that it is for.
    """

    priority: int
    handle: int
    kind: str
    program: int
    class_id: int = 0
    name: str = ""
    protocol: int = ETH_P_ALL


def interfaces() -> list[Interface]:
    """Return all interfaces of this network namespace; raise OSError."""
    body = _LINK.pack(0, 0, 0, 0, 0)
    uplinks = {
        index
        for family in (socket.AF_INET, socket.AF_INET6)
        for message in _dump(_GETROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), _NEWROUTE)
        for index in _default_route(message)
    }
    return [_interface(message, uplinks) for message in _dump(_GETLINK, body, _NEWLINK)]


def has_ethernet(ifindex: int) -> bool:
    """Return whether packets of an interface have an Ethernet header; raise OSError (ENODEV)."""
    with closing(_dump(_GETLINK, _LINK.pack(0, 0, ifindex, 0, 0), _NEWLINK, flags=0)) as found:
        _, kind, *_ = _LINK.unpack_from(next(found))
    return kind in _ETHERNET


def filters(ifindex: int, parent: int) -> list[Filter]:
    """Return the filters at a place of an interface in the order in which they run; raise OSError.

    There are none if the interface has no such place, or has gone.
    """
    body = _TC.pack(0, ifindex, 0, parent, 0)
    found = (_filter(message) for message in _dump(_GETFILTER, body, _NEWFILTER))
    return [one for one in found if one]


def is_clsact(ifindex: int) -> bool:
    """Return whether an interface has the qdisc with a place for what is sent; raise OSError."""
    for message in _dump(_GETQDISC, _TC.pack(0, 0, 0, 0, 0), _NEWQDISC):
        _, index, _, parent, _ = _TC.unpack_from(message)
        if (index, parent) == (ifindex, _INGRESS_QDISC):
            return _text(_attributes(message[_TC.size :]).get(_TC_KIND, b"")) == "clsact"
    return False


def put_filter(
    ifindex: int, parent: int, *, priority: int, handle: int, program: int, name: str, class_id: int
) -> None:
    """Attach a BPF program by its descriptor, in the place of the filter that has this handle.

    A program can tell by the class, skb->tc_classid, which of its filters runs (libbpf's own call
    cannot set it). Raise OSError.
    """
    options = (
        _attribute(_BPF_FD, struct.pack("=I", program))
        + _attribute(_BPF_NAME, name.encode() + b"\0")
        + _attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
    )
    if class_id:
        options += _attribute(_BPF_CLASSID, struct.pack("=I", class_id))
    info = priority << 16 | socket.htons(ETH_P_ALL)
    body = (
        _TC.pack(0, ifindex, handle, parent, info)
        + _attribute(_TC_KIND, b"bpf\0")
        + _attribute(_TC_OPTIONS, options)
    )
    ask(_NEWFILTER, _CREATE | _REPLACE, body)


class Watch:
    """Hears of changes of interfaces and of what is attached to them, in this network namespace."""

    def __init__(self) -> None:
        """Raise OSError."""
        flags = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, flags, socket.NETLINK_ROUTE)
        self._socket.bind((0, _ANNOUNCED))

    def fileno(self) -> int:
        """Return the descriptor, which is readable when something has changed."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Forget what was told until now. That more was told than the socket holds is told once."""
        while True:
            try:
                self._socket.recv(_MOST)
            except BlockingIOError:
                return
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def ask(request: int, flags: int, body: bytes, *, whom: int = socket.NETLINK_ROUTE) -> None:
    """Have a part of the kernel do something; raise OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, whom) as sock:
        head = _HEAD.pack(_HEAD.size + len(body), request, _REQUEST | _ACK | flags, 1, 0)
        sock.send(head + body)
        answer = sock.recv(_MOST)
    _, kind, *_ = _HEAD.unpack_from(answer)
    if kind != _ERROR:
        raise AssertionError(f"a netlink message of type {kind} in the place of an answer")
    code = -struct.unpack_from("=i", answer, _HEAD.size)[0]
    if code:
        raise OSError(code, os.strerror(code))


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def _dump(
    request: int, body: bytes, answer: int, *, flags: int = _DUMP
) -> Generator[bytes, None, None]:
    """Yield what the kernel lists, each message without its header; raise OSError.

    Without flags it tells of one thing, and nothing after it.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.send(_HEAD.pack(_HEAD.size + len(body), request, _REQUEST | flags, 1, 0) + body)
        while True:
            data = sock.recv(_MOST)
            at = 0
            while at < len(data):
                size, kind, *_ = _HEAD.unpack_from(data, at)
                message = data[at + _HEAD.size : at + size]
                at += -(-size // 4) * 4
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", message)[0]
                    raise OSError(code, os.strerror(code))
                if kind == answer:
                    yield message


def _default_route(message: bytes) -> Iterator[int]:
    """Yield the interfaces that a message of a route says a default route of the host leads to."""
    _, bits, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(message)
    if bits or table != _MAIN or kind != _UNICAST:
        return
    attributes = _attributes(message[_ROUTE.size :])
    if out := _number(attributes, _OUT, 0):
        yield out
    hops, at = attributes.get(_MULTIPATH, b""), 0
    while at + _HOP.size <= len(hops):
        size, _, _, index = _HOP.unpack_from(hops, at)
        yield index
        at += max(-(-size // 4) * 4, _HOP.size)


def _interface(message: bytes, uplinks: set[int]) -> Interface:
    _, _, index, flags, _ = _LINK.unpack_from(message)
    attributes = _attributes(message[_LINK.size :])
    info = _attributes(attributes.get(_LINKINFO, b""))
    netns = _number(attributes, _LINK_NETNSID, -1)
    return Interface(
        index=index,
        name=_text(attributes.get(_IFNAME, b"")),
        kind=_text(info.get(_INFO_KIND, b"")),
        up=bool(flags & _UP),
        loopback=bool(flags & _LOOPBACK),
        netns=netns,
        master=_number(attributes, _MASTER, 0),
        lower=_number(attributes, _IFLINK, 0) if netns < 0 else 0,
        uplink=index in uplinks,
    )


def _filter(message: bytes) -> Filter | None:
    """Return the filter that a message tells of; None if it tells of a priority, or another chain."""
    _, _, handle, _, info = _TC.unpack_from(message)
    attributes = _attributes(message[_TC.size :])
    if not handle or _number(attributes, _TC_CHAIN, 0):
        return None
    options = _attributes(attributes.get(_TC_OPTIONS, b""))
    kind = _text(attributes.get(_TC_KIND, b""))
    program, class_id = (
        _number(options, one, 0) if kind == "bpf" else 0 for one in (_BPF_ID, _BPF_CLASSID)
    )
    name = _text(options.get(_BPF_NAME, b"")) if kind == "bpf" else ""
    return Filter(info >> 16, handle, kind, program, class_id, name, socket.ntohs(info & 0xFFFF))


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


def _number(attributes: dict[int, bytes], kind: int, default: int) -> int:
    raw = attributes.get(kind)
    return int(struct.unpack("=i", raw)[0]) if raw and len(raw) == 4 else default


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode(errors="replace")

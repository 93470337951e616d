"""BTF as numpy dtypes: the types of the compiled object, or of a map that is already in the kernel.

Format: Documentation/bpf/btf.rst of the kernel.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

_MAGIC = 0xEB9F
_ORDER = "<" if sys.byteorder == "little" else ">"

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF = range(1, 9)
_VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT = range(9, 17)
_DECL_TAG, _TYPE_TAG, _ENUM64 = range(17, 20)

_SOUGHT = frozenset({_STRUCT, _ENUM, _DATASEC})
_MODIFIERS = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG, _VAR})
_INT_SIGNED = 1

# Bytes behind a type's 12: fixed, and for each of its `vlen` members.
_TAIL = {
    _INT: (4, 0), _PTR: (0, 0), _ARRAY: (12, 0), _STRUCT: (0, 12), _UNION: (0, 12),
    _ENUM: (0, 8), _FWD: (0, 0), _TYPEDEF: (0, 0), _VOLATILE: (0, 0), _CONST: (0, 0),
    _RESTRICT: (0, 0), _FUNC: (0, 0), _FUNC_PROTO: (0, 8), _VAR: (4, 0), _DATASEC: (0, 12),
    _FLOAT: (0, 0), _DECL_TAG: (4, 0), _TYPE_TAG: (0, 0), _ENUM64: (0, 12),
}  # fmt: skip


class BtfError(ValueError):
    """The bytes are no BTF, or a type in them has no numpy counterpart."""


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    kind: int
    flag: bool
    size: int  # or the id of the type referred to
    tail: bytes


class Btf:
    """A parsed set of types. Ids are BTF's own: 0 is void."""

    def __init__(self, data: bytes) -> None:
        self._types = [_Type("void", 0, flag=False, size=0, tail=b"")]
        try:
            self._parse(data)
        except (struct.error, KeyError, ValueError, UnicodeDecodeError) as e:
            raise BtfError(f"damaged BTF: {e}") from e
        self._ids = {(t.kind, t.name): i for i, t in enumerate(self._types) if t.kind in _SOUGHT}
        self._dtypes: dict[int, np.dtype[Any]] = {}

    def struct(self, name: str) -> np.dtype[Any]:
        """Return the dtype of `struct name`; raise KeyError if there is none."""
        return self.dtype(self._ids[_STRUCT, name])

    def enum(self, name: str) -> dict[str, int]:
        """Return the enumerators of `enum name`; raise KeyError if there is none."""
        return self._enumerators(self._types[self._ids[_ENUM, name]])

    def section(self, name: str) -> np.dtype[Any]:
        """Return a section of global variables as a struct; raise KeyError if there is none."""
        return self.dtype(self._ids[_DATASEC, name])

    def dtype(self, type_id: int) -> np.dtype[Any]:
        """Return the dtype of a type: structs with their padding, arrays as subarrays.

        A union is its bytes (`V`), a pointer a u64. Raise BtfError for what has no size.
        """
        if type_id not in self._dtypes:
            self._dtypes[type_id] = self._convert(type_id)
        return self._dtypes[type_id]

    def _parse(self, data: bytes) -> None:
        magic, _version, _flags, header = struct.unpack_from(_ORDER + "HBBI", data)
        if magic != _MAGIC:
            raise BtfError("no BTF in this machine's byte order")
        types_at, types_len, names_at, names_len = struct.unpack_from(_ORDER + "IIII", data, 8)
        self._names = data[header + names_at : header + names_at + names_len]
        at, end = header + types_at, header + types_at + types_len
        while at < end:
            name, info, size = struct.unpack_from(_ORDER + "III", data, at)
            kind, vlen = info >> 24 & 31, info & 0xFFFF
            fixed, each = _TAIL[kind]
            tail = data[at + 12 : at + 12 + fixed + each * vlen]
            self._types.append(_Type(self._name(name), kind, bool(info >> 31), size, tail))
            at += 12 + fixed + each * vlen

    def _name(self, at: int) -> str:
        return self._names[at : self._names.index(b"\0", at)].decode()

    def _convert(self, type_id: int) -> np.dtype[Any]:
        t = self._types[type_id]
        if t.kind in _MODIFIERS:
            return self.dtype(t.size)
        if t.kind == _INT:
            signed = struct.unpack(_ORDER + "I", t.tail)[0] >> 24 & _INT_SIGNED
            return np.dtype(f"{'i' if signed else 'u'}{t.size}")
        if t.kind in {_ENUM, _ENUM64}:
            return np.dtype(f"{'i' if t.flag else 'u'}{t.size}")
        if t.kind == _FLOAT:
            return np.dtype(f"f{t.size}")
        if t.kind == _PTR:
            return np.dtype("u8")
        if t.kind == _ARRAY:
            element, _index, count = struct.unpack(_ORDER + "III", t.tail)
            inner = self.dtype(element)
            return np.dtype((inner.base, (count, *inner.shape)))
        if t.kind == _UNION:
            return np.dtype(f"V{t.size}")
        if t.kind == _STRUCT:
            return self._struct(t)
        if t.kind == _DATASEC:
            return self._section(t)
        raise BtfError(f"type {type_id} ({t.name}, kind {t.kind}) has no size")

    def _enumerators(self, t: _Type) -> dict[str, int]:
        layout = _ORDER + ("Ii" if t.flag else "II")
        return {self._name(name): value for name, value in struct.iter_unpack(layout, t.tail)}

    def _struct(self, t: _Type) -> np.dtype[Any]:
        names: list[str] = []
        formats: list[np.dtype[Any]] = []
        offsets: list[int] = []
        for i, (name, member, bits) in enumerate(struct.iter_unpack(_ORDER + "III", t.tail)):
            if t.flag and bits >> 24:
                raise BtfError(f"struct {t.name} has a bit field")
            names.append(self._name(name) or f"anonymous{i}")
            formats.append(self.dtype(member))
            offsets.append((bits & 0xFFFFFF if t.flag else bits) // 8)
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": t.size}
        )

    def _section(self, t: _Type) -> np.dtype[Any]:
        rows = list(struct.iter_unpack(_ORDER + "III", t.tail))
        return np.dtype(
            {
                "names": [self._types[variable].name for variable, _, _ in rows],
                "formats": [self.dtype(variable) for variable, _, _ in rows],
                "offsets": [offset for _, offset, _ in rows],
                "itemsize": t.size,
            }
        )

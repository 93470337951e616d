"""BTF becomes numpy dtypes: sizes, offsets, arrays and enumerations as the compiler laid them out."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.kernel.btf import Btf, BtfError


class Builder:
    """Writes BTF by hand, type by type, with the ids that the order gives."""

    def __init__(self) -> None:
        self.types = b""
        self.names = b"\0"

    def name(self, text: str) -> int:
        """Return the offset of a name."""
        at = len(self.names)
        self.names += text.encode() + b"\0"
        return at if text else 0

    def add(
        self, kind: int, name: str = "", size: int = 0, tail: bytes = b"", vlen: int = 0
    ) -> None:
        """Append a type."""
        self.types += struct.pack("=III", self.name(name), kind << 24 | vlen, size) + tail

    def bytes(self) -> bytes:
        """Return the whole."""
        header = struct.pack(
            "=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.names)
        )
        return header + self.types + self.names


def sample() -> bytes:
    """Return the BTF of `struct row { u64 a; u8 text[16]; enum kind k; u64 grid[2][3]; }`."""
    b = Builder()
    b.add(1, "u64", 8, struct.pack("=I", 64))  # 1
    b.add(1, "u8", 1, struct.pack("=I", 8))  # 2
    b.add(1, "int", 4, struct.pack("=I", 1 << 24 | 32))  # 3
    b.add(3, tail=struct.pack("=III", 2, 3, 16))  # 4: u8[16]
    kinds = struct.pack("=Ii", b.name("KIND_A"), 0) + struct.pack("=Ii", b.name("KIND_B"), 7)
    b.add(6, "kind", 4, kinds, vlen=2)  # 5
    b.add(3, tail=struct.pack("=III", 1, 3, 3))  # 6: u64[3]
    b.add(3, tail=struct.pack("=III", 6, 3, 2))  # 7: u64[2][3]
    b.add(8, "grid_t", 7)  # 8
    members = ((1, "a", 0), (4, "text", 64), (5, "k", 192), (8, "grid", 256))
    tail = b"".join(struct.pack("=III", b.name(n), t, bits) for t, n, bits in members)
    b.add(4, "row", 80, tail, vlen=4)  # 9
    b.add(5, "either", 8, struct.pack("=III", b.name("x"), 1, 0), vlen=1)  # 10
    b.add(2, size=9)  # 11: struct row *
    return b.bytes()


def test_struct() -> None:
    """A struct has its fields at their offsets, arrays of arrays as more dimensions."""
    row = Btf(sample()).struct("row")
    assert row == np.dtype(
        {
            "names": ["a", "text", "k", "grid"],
            "formats": ["u8", ("u1", 16), "u4", ("u8", (2, 3))],
            "offsets": [0, 8, 24, 32],
            "itemsize": 80,
        }
    )


def test_enum() -> None:
    """An enumeration gives its names as they are in C."""
    assert Btf(sample()).enum("kind") == {"KIND_A": 0, "KIND_B": 7}


def test_signed_union_and_pointer() -> None:
    """Integers keep their sign, a union is its bytes, a pointer an address."""
    btf = Btf(sample())
    assert btf.dtype(3) == np.dtype("i4")
    assert btf.dtype(10) == np.dtype("V8")
    assert btf.dtype(11) == np.dtype("u8")


def test_unknown_names() -> None:
    """A name that is not there is a KeyError, void has no size."""
    btf = Btf(sample())
    with pytest.raises(KeyError):
        btf.struct("kind")
    with pytest.raises(KeyError):
        btf.enum("row")
    with pytest.raises(BtfError):
        btf.dtype(0)


@given(st.integers(0, len(sample())), st.binary(max_size=12), st.integers(0, 40))
def test_damage_is_an_error(at: int, noise: bytes, cut: int) -> None:
    """Damaged BTF is refused or read differently, but raises nothing else."""
    data = sample()
    damaged = (data[:at] + noise + data[at + len(noise) :])[: len(data) - cut]
    try:
        btf = Btf(damaged)
        for number in range(12):
            btf.dtype(number)
    except (BtfError, IndexError):
        pass

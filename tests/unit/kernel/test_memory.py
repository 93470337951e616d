"""The bound on kernel memory: size classes, and growth with what it depends on."""

from __future__ import annotations

import mmap

import pytest

from axon.kernel import bpf, memory


@pytest.mark.parametrize(
    ("value", "size"),
    [(8, 96), (24, 96), (25, 128), (184, 256), (185, 512), (440, 512), (441, 1024)],
)
def test_socket_storage(value: int, size: int) -> None:
    """A value takes 72 bytes more than itself, rounded up to an allocation's size class."""
    assert memory.storage_bytes(value) == size


@pytest.mark.parametrize(
    "kind",
    [bpf.MAP_ARRAY, bpf.MAP_HASH, bpf.MAP_LRU_HASH, bpf.MAP_QUEUE, bpf.MAP_PERCPU_ARRAY],
)
def test_grows_with_entries(kind: int) -> None:
    """Twice the entries take about twice the memory, and never less than their values."""
    one = memory.map_bytes(kind, 8, 64, 10_000, 4)
    two = memory.map_bytes(kind, 8, 64, 20_000, 4)
    assert one >= 640_000
    assert 1.9 < two / one < 2.1


def test_per_cpu() -> None:
    """An array takes the same on any number of CPUs, a per-CPU one so many times as much."""
    assert memory.map_bytes(bpf.MAP_ARRAY, 4, 64, 1000, 1) == memory.map_bytes(
        bpf.MAP_ARRAY, 4, 64, 1000, 64
    )
    assert memory.map_bytes(bpf.MAP_PERCPU_ARRAY, 4, 64, 1000, 64) > 64 * 64_000


def test_hash_of_many_cpus() -> None:
    """Each CPU has an element of a hash apart, a pointer to it, and a count of each of eight locks."""
    one, many = (memory.map_bytes(bpf.MAP_HASH, 8, 64, 1000, cpus) for cpus in (1, 1024))
    assert abs(many - one - 1023 * (48 + 8 + 64 + 8 + 8 * 4)) <= mmap.PAGESIZE


def test_storage_has_no_entries_of_its_own() -> None:
    """What sockets store is not part of the bound."""
    assert memory.map_bytes(bpf.MAP_SK_STORAGE, 4, 1024, 0, 64) == mmap.PAGESIZE

"""What the data plane may take of the kernel's memory: a bound, known before anything is loaded.

The sums follow the kernel's allocations (kernel/bpf/arraymap.c, hashtab.c, ringbuf.c,
queue_stack_maps.c, bpf_local_storage.c). A live test holds them against the kernel's own figures.
"""

from __future__ import annotations

from axon.kernel import bpf
from axon.kernel.maps import PAGE

# Sizes of kernel structures in bytes.
_HASH_ELEMENT = 48  # struct htab_elem
_HASH_BUCKET = 16  # struct bucket
_HASH_CPU = (
    8 * 4 + 8
)  # of each CPU: how often it has each of eight locks, and the element that it has apart
_MAP = 1024  # struct bpf_htab, the largest of those that surround struct bpf_map
_STORAGE_ELEMENT = 64 + 8  # struct bpf_local_storage_elem up to the value: a cache line, a pointer
STORAGE_LIST = 192  # struct bpf_local_storage, once a socket
_CACHES = (8, 16, 32, 64, 96, 128, 192, 256)  # kmalloc's size classes; then powers of two


def map_bytes(kind: int, key: int, value: int, entries: int, cpus: int) -> int:
    """Return the most that a map can take, in bytes, its sockets' storage left out."""
    return _up(_MAP + _content(kind, key, value, entries, cpus), PAGE)


def _content(kind: int, key: int, value: int, entries: int, cpus: int) -> int:
    value8, key8 = _up(value, 8), _up(key, 8)
    match kind:
        case bpf.MAP_ARRAY:  # one that can be mapped begins on a page of its own
            return PAGE - _MAP + entries * value8
        case bpf.MAP_PERCPU_ARRAY:
            return entries * (value8 * cpus + 8)
        case bpf.MAP_HASH | bpf.MAP_LRU_HASH:
            element = _HASH_ELEMENT + key8 + value8
            buckets = _power(entries) * _HASH_BUCKET
            return (entries + cpus) * element + buckets + cpus * _HASH_CPU
        case bpf.MAP_QUEUE | bpf.MAP_STACK:
            return (entries + 1) * value
        case bpf.MAP_RINGBUF:
            return entries + 3 * PAGE + (2 * entries // PAGE + 3) * 8
        case _:
            return _power(cpus) * _HASH_BUCKET


def storage_bytes(value: int) -> int:
    """Return what one value of socket storage takes, in bytes; STORAGE_LIST comes once a socket."""
    size = _STORAGE_ELEMENT + value
    return next((c for c in _CACHES if c >= size), _power(size))


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _power(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()

"""BPF maps as numpy arrays: whole tables at a time, by batch calls where the kernel has them."""

from __future__ import annotations

import ctypes
import errno
import mmap
from ctypes import c_uint32
from typing import Any

import numpy as np
import numpy.typing as npt

from axon.kernel import bpf
from axon.kernel.btf import Btf
from axon.kernel.libbpf import check, lib

Array = npt.NDArray[Any]

PAGE = mmap.PAGESIZE
_CHUNK = 4096
_NO_BATCH = {errno.EINVAL, 524}  # unknown command; ENOTSUPP: not for this kind of map


class Map:
    """A map with the dtypes of its keys and values.

    `key` and `value` default to plain numbers and bytes; `dtypes` is what was given, and `types`
    where they come from. A value of a per-CPU map has a first axis of possible CPUs.
    """

    def __init__(
        self,
        fd: bpf.Fd,
        key: np.dtype[Any] | None = None,
        value: np.dtype[Any] | None = None,
        types: Btf | None = None,
    ) -> None:
        self.fd = fd
        self.info = bpf.map_info(fd)
        self.name = self.info.name.decode()
        self.dtypes = key, value
        self.types = types
        self.key = key if key is not None else _plain(self.info.key_size)
        self.value = value if value is not None else _plain(self.info.value_size)
        self.cpus = bpf.possible_cpus() if self.info.type in _PER_CPU else 0

    @property
    def entries(self) -> int:
        """How many entries it can hold."""
        return int(self.info.max_entries)

    def close(self) -> None:
        """Let go of the map; mappings of it stay valid."""
        self.fd.close()

    def lookup(self, key: Any) -> Array | None:
        """Return the value under a key, shape () or (CPUs,), or None."""
        keys, values = self._keys(key), self._values(1)
        result = lib().bpf_map_lookup_elem(self.fd.fileno(), bpf.address(keys), bpf.address(values))
        if result == -errno.ENOENT:
            return None
        check(result)
        return values.reshape(values.shape[1:])

    def update(self, key: Any, value: Any, flags: int = 0) -> None:
        """Set one entry."""
        keys, values = self._keys(key), np.ascontiguousarray(value, dtype=self.value.base)
        check(
            lib().bpf_map_update_elem(
                self.fd.fileno(), bpf.address(keys), bpf.address(values), flags
            )
        )

    def delete(self, key: Any) -> bool:
        """Remove one entry; return whether it was there."""
        keys = self._keys(key)
        result = lib().bpf_map_delete_elem(self.fd.fileno(), bpf.address(keys))
        if result == -errno.ENOENT:
            return False
        check(result)
        return True

    def items(self) -> tuple[Array, Array]:
        """Return all keys and values. Entries written meanwhile may or may not be among them."""
        try:
            return self.items_by_batch()
        except OSError as e:
            if e.errno not in _NO_BATCH:
                raise
            return self._items_one_by_one()

    def keys(self) -> Array:
        """Return all keys."""
        return self.items()[0]

    def update_many(self, keys: Array, values: Array, flags: int = 0) -> None:
        """Set many entries."""
        for key, value in zip(np.atleast_1d(keys), values, strict=True):
            self.update(key, value, flags)

    def delete_many(self, keys: Array) -> int:
        """Remove entries; return how many were there."""
        return sum(self.delete(key) for key in np.atleast_1d(keys))

    def push(self, values: Array) -> None:
        """Append values to a queue or stack; raise OSError (E2BIG) when it is full."""
        data = np.ascontiguousarray(values, dtype=self.value)
        start, step, fd = bpf.address(data), self.value.itemsize, self.fd.fileno()
        update = lib().bpf_map_update_elem
        for i in range(len(data)):
            check(update(fd, None, start + i * step, 0))

    def pop(self) -> Array | None:
        """Take the next value from a queue or stack, or None if it is empty."""
        values = np.zeros(1, self.value)
        result = lib().bpf_map_lookup_and_delete_elem(self.fd.fileno(), None, bpf.address(values))
        if result == -errno.ENOENT:
            return None
        check(result)
        return values.reshape(values.shape[1:])

    def mapped(self, first: int, count: int) -> Array:
        """Return entries [first, first + count) of an mmapable array, readable and writable.

        Only their pages are mapped. The mapping lives as long as the array or a view of it.
        """
        stride = -(-int(self.info.value_size) // 8) * 8
        begin = first * stride // PAGE * PAGE
        length = -(-(first + count) * stride // PAGE) * PAGE - begin
        memory = mmap.mmap(self.fd.fileno(), length, offset=begin)
        return np.ndarray(
            (count,), self.value, memory, offset=first * stride - begin, strides=(stride,)
        )

    def _keys(self, keys: Any) -> Array:
        return np.ascontiguousarray(keys, dtype=self.key)

    def _values(self, count: int) -> Array:
        if not self.cpus:
            return np.zeros(count, self.value)
        stride = -(-self.value.itemsize // 8) * 8
        raw = np.zeros((count, self.cpus * stride), "u1")
        shape, steps = self.value.shape, np.zeros(self.value.shape, self.value.base).strides
        return np.ndarray(
            (count, self.cpus, *shape),
            self.value.base,
            raw.data,
            strides=(raw.shape[1], stride, *steps),
        )

    def items_by_batch(self) -> tuple[Array, Array]:
        """Return all keys and values by batch calls; raise OSError where the kernel has none."""
        keys, values = [], []
        room, position, more = _CHUNK, None, True
        following = ctypes.create_string_buffer(max(8, int(self.info.key_size)))
        while more:
            k, v = np.zeros(room, self.key), self._values(room)
            count = c_uint32(room)
            result = lib().bpf_map_lookup_batch(
                self.fd.fileno(),
                position,
                following,
                bpf.address(k),
                bpf.address(v),
                ctypes.byref(count),
                None,
            )
            if result == -errno.ENOSPC:  # one bucket holds more than there is room for
                room *= 2
                continue
            more = result != -errno.ENOENT
            if more:
                check(result)
            keys.append(k[: count.value])
            values.append(v[: count.value])
            position = ctypes.create_string_buffer(following.raw, len(following))
        return np.concatenate(keys), np.concatenate(values)

    def _items_one_by_one(self) -> tuple[Array, Array]:
        keys: list[Array] = []
        values: list[Array] = []
        key, following = None, np.zeros(1, self.key)
        while True:
            result = lib().bpf_map_get_next_key(self.fd.fileno(), key, bpf.address(following))
            if result == -errno.ENOENT:
                break
            check(result)
            current = following.copy()
            value = self.lookup(current)
            if value is not None:
                keys.append(current)
                values.append(value[np.newaxis])
            key = bpf.address(current)
        if not keys:
            return np.zeros(0, self.key), self._values(0)
        return np.concatenate(keys), np.concatenate(values)


_PER_CPU = {bpf.MAP_PERCPU_HASH, bpf.MAP_PERCPU_ARRAY, bpf.MAP_LRU_PERCPU_HASH}


def _plain(size: int) -> np.dtype[Any]:
    return np.dtype(f"u{size}" if size in {4, 8} else f"V{size}")

"""The compiled object: opened, sized, given its configuration and loaded; the verifier's log kept."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
from contextlib import suppress
from ctypes import c_size_t, c_uint32
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np

from axon.errors import KernelError, LoadError
from axon.kernel import bpf
from axon.kernel.abi import Abi
from axon.kernel.btf import Btf, BtfError
from axon.kernel.libbpf import OpenOpts, check, lib, messages, pointer, sized
from axon.kernel.maps import Map

_LOG_SIZE = (1 << 24) - 1  # what kernels before 5.16 take at most
_LOG_SHOWN = 12
_NAME = "axon"
RODATA = ".rodata"
KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")


@dataclass(frozen=True, slots=True)
class MapDef:
    """A map as the object declares it. The sizes are in bytes; a type of 0 is not declared."""

    name: str
    handle: int
    kind: int
    key_size: int
    value_size: int
    flags: int
    key_type: int
    value_type: int

    @property
    def entries(self) -> int:
        """How many entries it is going to have."""
        return int(lib().bpf_map__max_entries(self.handle))


@dataclass(frozen=True, slots=True)
class ProgDef:
    """A program of the object."""

    name: str
    section: str
    handle: int
    attach_type: int


def packaged() -> Path:
    """Return where the compiled object of this installation lies."""
    return Path(str(files("axon.kernel"))) / "axon.bpf.o"


class BpfObject:
    """The object file, through libbpf. Close it when it is no longer needed; that unloads it."""

    def __init__(self, path: Path) -> None:
        """Open the object; raise KernelError if the file is missing or damaged."""
        self.path = path
        self._log = mmap.mmap(-1, _LOG_SIZE)
        self._handle: int | None = None
        try:
            data = path.read_bytes()
            opts = OpenOpts(
                object_name=_NAME.encode(),
                kernel_log_buf=ctypes.addressof(ctypes.c_char.from_buffer(self._log)),
                kernel_log_size=_LOG_SIZE,
                # Without the kernel's types the object's own stand in: what they would be wrong
                # for is left out by AX_HAS_TYPES.
                btf_custom_path=None if KERNEL_BTF.exists() else os.fsencode(path),
            )
            self._handle = pointer(lib().bpf_object__open_mem(data, len(data), sized(opts)))
            self.types = self._btf_bytes()
            self.btf = Btf(self.types)
        except FileNotFoundError as e:
            raise KernelError(
                f"The compiled kernel programs are missing at {path}. "
                "In a source tree run `make build`; otherwise install the axon wheel again."
            ) from e
        except (OSError, BtfError) as e:
            raise KernelError(
                f"{path} cannot be used ({e}). Build it (`make build`) or install axon again."
            ) from e
        self.maps = {m.name: m for m in self._each_map()}
        self.programs = {p.name: p for p in self._each_program()}

    @cached_property
    def abi(self) -> Abi:
        """The contract's layouts, for an object that has them."""
        return Abi(self.btf)

    def set_entries(self, name: str, entries: int) -> None:
        """Set how many entries a map will have."""
        check(lib().bpf_map__set_max_entries(self.maps[name].handle, entries))

    def reuse(self, name: str, fd: bpf.Fd) -> None:
        """Have the programs use a map that exists already."""
        check(lib().bpf_map__reuse_fd(self.maps[name].handle, fd.fileno()))

    def leave_out(self, program: str) -> None:
        """Do not load a program."""
        check(lib().bpf_program__set_autoload(self.programs[program].handle, 0))
        del self.programs[program]

    def constants(self) -> Any:
        """Return .rodata, shape (), a field for each constant; writable until load()."""
        dtype = self.btf.section(RODATA)
        size = c_size_t()
        start = pointer(lib().bpf_map__initial_value(self.maps[RODATA].handle, ctypes.byref(size)))
        memory = memoryview((ctypes.c_char * size.value).from_address(start)).cast("B")
        return np.ndarray((), dtype, memory)

    def load(self, log_path: Path) -> None:
        """Create the maps and load the programs.

        Raise LoadError with the verifier's log, kept in `log_path`, when a program is refused, and
        KernelError when a map cannot be created.
        """
        messages.clear()
        try:
            check(lib().bpf_object__load(self._handle))
        except OSError as e:
            log = self._log[: self._log.find(b"\0")].decode(errors="replace").strip()
            raise _explain(e, log, log_path) from e

    def map(self, name: str) -> Map:
        """Return a loaded map with its dtypes and a descriptor of its own."""
        fd = _own(lib().bpf_map__fd(self.maps[name].handle))
        return Map(fd, *self.dtypes(name), self.btf)

    def dtypes(self, name: str) -> tuple[np.dtype[Any] | None, np.dtype[Any] | None]:
        """Return the dtypes of a map's keys and values, None where it is declared without them."""
        declared = self.maps[name]
        return (
            self.btf.dtype(declared.key_type) if declared.key_type else None,
            self.btf.dtype(declared.value_type) if declared.value_type else None,
        )

    def program(self, name: str) -> bpf.Fd:
        """Return a descriptor of a loaded program, the caller's own."""
        return _own(lib().bpf_program__fd(self.programs[name].handle))

    def close(self) -> None:
        """Let go of everything that was not handed out, pinned or attached."""
        handle, self._handle = self._handle, None
        if handle:
            lib().bpf_object__close(handle)
        self.maps, self.programs = {}, {}
        with suppress(BufferError):
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _btf_bytes(self) -> bytes:
        size = c_uint32()
        btf = pointer(lib().bpf_object__btf(self._handle))
        start = pointer(lib().btf__raw_data(btf, ctypes.byref(size)))
        return ctypes.string_at(start, size.value)

    def _each_map(self) -> list[MapDef]:
        found, handle = [], lib().bpf_object__next_map(self._handle, None)
        while handle:
            name = lib().bpf_map__name(handle).decode()
            found.append(
                MapDef(
                    name[name.index(".") :] if "." in name else name,
                    handle,
                    lib().bpf_map__type(handle),
                    lib().bpf_map__key_size(handle),
                    lib().bpf_map__value_size(handle),
                    lib().bpf_map__map_flags(handle),
                    # Now: libbpf forgets those of a queue when it is loaded.
                    lib().bpf_map__btf_key_type_id(handle),
                    lib().bpf_map__btf_value_type_id(handle),
                )
            )
            handle = lib().bpf_object__next_map(self._handle, handle)
        return found

    def _each_program(self) -> list[ProgDef]:
        found, handle = [], lib().bpf_object__next_program(self._handle, None)
        while handle:
            found.append(
                ProgDef(
                    lib().bpf_program__name(handle).decode(),
                    lib().bpf_program__section_name(handle).decode(),
                    handle,
                    lib().bpf_program__expected_attach_type(handle),
                )
            )
            handle = lib().bpf_object__next_program(self._handle, handle)
        return found


def _own(number: int) -> bpf.Fd:
    return bpf.Fd(os.dup(check(number)))


def _explain(e: OSError, log: str, log_path: Path) -> KernelError:
    said = "\n".join(messages)
    if e.errno == errno.EPERM and not log:
        return KernelError(
            f"The kernel does not allow loading BPF ({e.strerror}). Run as root, or with the "
            "capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; on kernels before 5.11 raise "
            "the limit of locked memory too: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in "
            "the systemd unit."
        )
    if not log:
        return KernelError(
            f"The kernel refused to set up the maps ({e.strerror}): {said or 'no reason given'}. "
            "`axon doctor` says what this kernel lacks."
        )
    kept = _keep_log(log_path, f"{said}\n{log}\n")
    program = re.search(r"prog '(\w+)'", said)
    lines = [line for line in log.splitlines() if line.strip()]
    shown = "\n  ".join(lines[-_LOG_SHOWN:])
    where = f"The whole log is in {log_path}." if kept else "The log could not be written."
    return LoadError(
        f"The kernel's verifier refused the program {program[1] if program else '(unknown)'} "
        f"({e.strerror}). {where} Please report it with the output of `axon doctor`. "
        f"The log ends with:\n  {shown}",
        log,
        str(log_path) if kept else None,
    )


def _keep_log(path: Path, text: str) -> bool:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text)
    except OSError:
        return False
    return True


def load_abi(path: Path | None = None) -> Abi:
    """Return the layouts of a compiled object, the packaged one if none is given; needs no root."""
    with BpfObject(path or packaged()) as obj:
        return obj.abi

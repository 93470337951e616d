"""The compiled object is opened without privileges, and refused in words when it is none."""

from __future__ import annotations

import mmap
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from axon.errors import KernelError
from axon.kernel import bpf, load_abi
from axon.kernel.features import Needs
from axon.kernel.object import BpfObject, packaged
from axon.kernel.plane import Footprint
from axon.kernel.sizing import configure
from axon.settings import Settings, Size

NEEDS = Needs(release=True, task=False, types=False)


def test_contract() -> None:
    """The object describes every struct and enumeration of the contract, with no padding in keys."""
    abi = load_abi()
    assert abi.key.itemsize == 56
    assert abi.cell["hist"].shape == (216,)
    assert abi.flow["path"].shape == (256,)
    assert abi.enum("ax_method")["AX_METHOD_GET"] == 1
    assert abi.enum("ax_stat")["AX_CONN_HTTP1"] == 0
    with pytest.raises(KernelError, match="another version"):
        abi.enum("ax_nothing")


def test_missing(tmp_path: Path) -> None:
    """Without the object the command that builds it is named."""
    with pytest.raises(KernelError, match=r"missing at .*/axon.bpf.o.*make build"):
        BpfObject(tmp_path / "axon.bpf.o")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"x" * 1000])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    """A file that is no object is refused by its name."""
    (tmp_path / "axon.bpf.o").write_bytes(content)
    with pytest.raises(KernelError, match=r"axon.bpf.o cannot be used"):
        BpfObject(tmp_path / "axon.bpf.o")


def test_truncated(tmp_path: Path) -> None:
    """An object that was cut off while being copied is refused, wherever it was cut."""
    whole = packaged().read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        (tmp_path / "axon.bpf.o").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(KernelError, match=r"axon.bpf.o cannot be used"):
            BpfObject(tmp_path / "axon.bpf.o")


def test_settings_become_the_configuration() -> None:
    """The settings are in ax_config, and the maps have their sizes."""
    settings = replace(
        Settings(), max_series=500, max_routes=7, max_peers=0, roles=("client",), peers="all"
    )
    with BpfObject(packaged()) as obj:
        config, footprint = configure(obj, settings, NEEDS)
        assert {name: int(config[name]) for name in config.dtype.names} | {"shard_mask": 0} == {
            "max_series": 500,
            "shard_mask": 0,
            "max_routes": 7,
            "max_peers": 0,
            "server": 0,
            "client": 1,
            "peers": 2,
            "kernel_has": 1,
            "pad": 0,
        }
        shards = int(config["shard_mask"]) + 1
        assert obj.maps["ax_cells"].entries == 500 * shards
        assert obj.maps["ax_series"].entries == 500
        assert footprint.total == sum(footprint.maps.values())
        assert footprint.socket > sum(footprint.storages.values()) > 0


def test_default_memory() -> None:
    """Ten thousand series fit into the default bound, and not much is left unused."""
    with BpfObject(packaged()) as obj:
        _config, footprint = configure(obj, Settings(), NEEDS)
    assert footprint.counting <= 64 << 20
    assert footprint.total - footprint.counting <= 32 << 20  # policies


def configure_for(
    cpus: int, obj: BpfObject, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Footprint]:
    """Size an object's maps as on a machine with so many CPUs."""
    monkeypatch.setattr(bpf, "possible_cpus", lambda: cpus)
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    return configure(obj, Settings(), NEEDS)


def test_sixty_four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound counts what a map keeps for each CPU as often as the kernel makes it, and all within max_memory."""
    with BpfObject(packaged()) as obj:
        _config, few = configure_for(2, obj, monkeypatch)
    with BpfObject(packaged()) as obj:
        _config, many = configure_for(64, obj, monkeypatch)
        maps = list(obj.maps.values())
        entries = {m.name: m.entries for m in maps}
    assert many.total == sum(many.maps.values())
    assert many.counting <= Settings().max_memory
    assert many.socket == few.socket
    of_each_cpu = [m for m in maps if m.kind == bpf.MAP_PERCPU_ARRAY]
    assert {"ax_work", "ax_stats", "ax_pol_counts"} <= {m.name for m in of_each_cpu}
    for m in of_each_cpu:
        more = many.maps[m.name] - few.maps[m.name] - 62 * m.value_size * entries[m.name]
        assert -mmap.PAGESIZE < more < 62 * 8 * entries[m.name] + mmap.PAGESIZE, m.name
    assert many.maps["ax_flows"] > few.maps["ax_flows"]


def test_fewer_shards_before_refusing() -> None:
    """With less memory there are fewer copies of each cell; below one copy it is refused."""
    with BpfObject(packaged()) as obj:
        config, _ = configure(obj, replace(Settings(), max_memory=Size(32 << 20)), NEEDS)
        assert config["shard_mask"] == 0
    with BpfObject(packaged()) as obj, pytest.raises(KernelError) as error:
        configure(obj, replace(Settings(), max_memory=Size(16 << 20)), NEEDS)
    said = str(error.value)
    assert said.startswith("10000 series take ")
    advised = int(said.split("lower max_series to ")[1].split(",", maxsplit=1)[0])
    with BpfObject(packaged()) as obj:
        less = replace(Settings(), max_memory=Size(16 << 20), max_series=advised)
        assert configure(obj, less, NEEDS)[1].counting <= 16 << 20

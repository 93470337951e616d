"""Who policies see on a host, as its cgroups and the agent's own means change."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from axon.agent.residents import Residents
from axon.errors import PolicyError
from axon.identity.containers import Container, Containers
from axon.policy.language.labels import CONTAINER, UNIT
from axon.policy.parties.given import NOTHING
from tests.unit.identity.host import ID
from tests.unit.identity.test_cgroups import deep, no_files


def test_without_files_nobody_is_taken_for_gone(tmp_path: Path) -> None:
    """An agent that can open no more files says so, instead of selecting nobody from then on."""
    (tmp_path / "system.slice/nginx.service").mkdir(parents=True)
    residents = Residents(tmp_path, None)
    before = residents.look(NOTHING)
    assert "nginx.service" in {one.labels.get(UNIT) for one in before.cgroups.values()}
    with (
        no_files(),
        pytest.raises(OSError, match="Too many open files"),
    ):
        residents.look(NOTHING)
    assert residents.look(NOTHING) == before


def test_who_has_made_a_cgroup(tmp_path: Path) -> None:
    """Cgroups below one that is a user's are told from those that root has made."""
    unit = tmp_path / "system.slice/mine.service"
    (unit / "a/b").mkdir(parents=True)
    os.chown(unit, 7, 7)
    host = Residents(tmp_path, None).look(NOTHING)
    assert host.disputed == {(unit / "a").stat().st_ino, (unit / "a/b").stat().st_ino}
    assert {host.cgroups[one].labels[UNIT] for one in host.disputed} == {"mine.service"}


def test_who_hides_in_the_deep(tmp_path: Path) -> None:
    """A server is of its unit however many cgroups it has put itself into."""
    mine = tmp_path / "user.slice/user-7.slice/user@7.service"
    mine.mkdir(parents=True)
    os.chown(mine, 7, 7)
    for name in ("x", "y" * 250):
        cgroup = deep(mine, 100, name)[-1]
        host = Residents(tmp_path, None).look(NOTHING)
        assert host.cgroups[cgroup].labels[UNIT] == "user@7.service"
        assert cgroup in host.disputed


def test_names_of_any_bytes(tmp_path: Path) -> None:
    """The labels of whatever somebody makes can be encoded, so that the API can tell of the others."""
    for name in (b"nginx\xff.service", b"lxc.payload.\xff", b"\xff.slice/a.service"):
        (tmp_path / os.fsdecode(name)).mkdir(parents=True)
    labels = [one.labels for one in Residents(tmp_path, None).look(NOTHING).cgroups.values()]
    assert {one.get(UNIT) for one in labels} == {None, "nginx%FF.service", "a.service"}
    assert {one.get(CONTAINER) for one in labels} == {None, "%FF"}
    assert msgspec.json.decode(msgspec.json.encode(labels)) == labels


def test_a_container_that_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies see it by its new name at the next look, and nothing is remembered of one that is gone."""
    names = {ID: "web"}

    def find(_: Containers, container: str, __: str) -> Container | None:
        return Container(names[container]) if container in names else None

    monkeypatch.setattr(Containers, "find", find)
    cgroup = tmp_path / f"system.slice/docker-{ID}.scope"
    cgroup.mkdir(parents=True)
    residents = Residents(tmp_path, None)

    def named() -> set[str]:
        return {
            one.labels.get(CONTAINER, "") for one in residents.look(NOTHING).cgroups.values()
        } - {""}

    assert named() == {"web"}
    names[ID] = "old"
    assert named() == {"old"}
    names.clear()
    assert named() == {"old"}
    cgroup.rmdir()
    assert named() == set()
    cgroup.mkdir()
    assert named() == {ID[:12]}


def test_labels_in_a_pipe(tmp_path: Path) -> None:
    """A file of labels that nobody writes to keeps no agent waiting."""
    os.mkfifo(tmp_path / "labels.yaml")
    with pytest.raises(PolicyError, match="is not a regular file"):
        Residents(tmp_path, tmp_path / "labels.yaml").read()

"""Names of units and containers, and when they are looked for."""

from __future__ import annotations

import pytest

from axon.identity.containers import Containers
from axon.identity.workload import Places
from tests.unit.identity.host import ID, Host

IDS = [f"{n:02}" + ID[2:] for n in range(10)]


def path(container: str) -> str:
    """Return the path of a container's cgroup."""
    return f"/system.slice/docker-{container}.scope"


def call(host: Host, container: str, name: str) -> None:
    """Have Docker say what a container is called."""
    host.write(f"var/lib/docker/containers/{container}/config.v2.json", {"Name": f"/{name}"})


def test_a_container_is_looked_for_again(host: Host) -> None:
    """A name that was not found, or is another by now, is known a little later; one that was found stays."""
    places = Places(Containers(host.root))
    assert places.workload(path(ID), "", 0).name == f"docker:{ID[:12]}"
    call(host, ID, "web")
    assert places.workload(path(ID), "", 0).name == f"docker:{ID[:12]}"
    assert places.again() == {path(ID)}
    assert places.workload(path(ID), "", 0).name == "docker:web"
    call(host, ID, "old")
    assert places.again() == {path(ID)}
    (host.root / f"var/lib/docker/containers/{ID}/config.v2.json").unlink()
    assert places.again() == set()
    assert places.workload(path(ID), "", 0).name == "docker:old"


def test_they_are_looked_for_in_turn(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, only some files are read at a time, and units are not looked for."""
    containers = Containers(host.root)
    places = Places(containers)
    for one in IDS:
        places.workload(path(one), "", 0)
        places.workload(f"/system.slice/s{one}.service", "", 0)
    asked: list[str] = []
    monkeypatch.setattr(containers, "find", lambda container, _: asked.append(container))
    for _ in range(5):
        places.again()
    assert asked == IDS
    places.keep({path(IDS[3])})
    places.again()
    assert asked[10:] == IDS[3:4]

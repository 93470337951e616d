"""Names of services from cgroups, processes and sockets, and when they are found out."""

from __future__ import annotations

import shutil

from axon.identity import Workload
from tests.unit.identity.host import ID, Host, v4

SECOND = 10**9


def test_units_containers_and_processes(host: Host) -> None:
    """A row says nginx.service, docker:web or python3:8080, and not a number."""
    unit = host.cgroup("/system.slice/nginx.service")
    box = host.cgroup(f"/system.slice/docker-{ID}.scope")
    plain = host.cgroup("/user.slice/user-0.slice/session-3.scope")
    host.write(f"var/lib/docker/containers/{ID}/config.v2.json", {"Name": "/web"})
    who = host.identity()
    assert who.workload(unit, "nginx", 80, server=True) == Workload(
        name="nginx.service",
        unit="nginx.service",
        process="nginx",
        cgroup="/system.slice/nginx.service",
    )
    found = who.workload(box, "node", 3000, server=True)
    assert (found.name, found.runtime, found.container) == ("docker:web", "docker", ID)
    assert who.workload(plain, "python3", 8080, server=True).name == "python3:8080"
    assert who.workload(plain, "curl", 8080, server=False).name == "curl"
    assert who.workload(unit, "nginx", 9000, server=False).name == "nginx.service"


def test_the_cgroups_of_units_and_containers(host: Host) -> None:
    """Each that has a name is known by it, soon after it was made where somebody waits for that."""
    unit = host.cgroup("/system.slice/nginx.service")
    host.cgroup("/user.slice/user-0.slice/session-3.scope")
    who = host.identity()
    assert who.named() == {unit: "nginx.service"}
    box = host.cgroup(f"/system.slice/docker-{ID}.scope/inner")
    who.refresh()
    assert box not in who.named()
    who.watch(on=True)
    assert who.named()[box] == "docker:3f2a9c01d2e4"
    host.cgroups.joinpath("system.slice/nginx.service").rename(host.root / "aside")
    again = host.cgroup("/system.slice/nginx.service")
    who.refresh()
    assert [c for c, name in who.named().items() if name == "nginx.service"] == [again]
    who.watch(on=False)
    host.cgroup("/system.slice/late.service")
    who.refresh()
    assert "late.service" not in who.named().values()


def test_an_unnamed_container_has_a_short_id(host: Host) -> None:
    """Without a runtime's files the id's first twelve digits stand for the container."""
    box = host.cgroup(f"/kubepods.slice/cri-containerd-{ID}.scope")
    assert host.identity().workload(box, "", 80, server=True).name == "containerd:3f2a9c01d2e4"


def test_a_renamed_container(host: Host) -> None:
    """Both ends of a container that is renamed have its new name soon, and the old one is told of."""
    box = host.cgroup(f"/docker/{ID}")
    config = f"var/lib/docker/containers/{ID}/config.v2.json"
    host.write(config, {"Name": "/web"})
    who = host.identity()

    def names() -> set[str]:
        server = who.workload(box, "nginx", 80, server=True)
        return {server.name, who.workload(box, "nginx", 5432, server=False).name}

    assert names() == {"docker:web"}
    host.write(config, {"Name": "/old"})
    assert who.refresh() == {"docker:web"}
    assert names() == {"docker:old"}
    assert who.refresh() == set()


def test_a_project_is_the_namespace(host: Host) -> None:
    """The compose project, or a slice of its own, is what a service belongs to."""
    box = host.cgroup(f"/docker/{ID}")
    host.write(
        f"var/lib/docker/containers/{ID}/config.v2.json",
        {"Name": "/web", "Config": {"Labels": {"com.docker.compose.project": "shop"}}},
    )
    unit = host.cgroup("/web.slice/shop.service")
    who = host.identity()
    assert who.workload(box, "", 80, server=True).namespace == "shop"
    assert who.workload(unit, "", 80, server=True).namespace == "web.slice"


def test_a_listener_gives_the_process_its_name(host: Host) -> None:
    """A server older than the agent has no command in its series: /proc knows it."""
    group = host.cgroup("/session")
    host.network("host", listeners={11: ("0.0.0.0", 8080), 12: ("127.0.0.1", 9090)})
    host.process(7, "python3", "/session", sockets=(11,))
    host.process(8, "ruby", "/elsewhere", sockets=(12,))
    who = host.identity()
    assert who.workload(group, "", 8080, server=True).name == "python3:8080"
    assert who.workload(group, "", 9090, server=True).name == ":9090"
    assert who.workload(999, "", 9090, server=True).name == "ruby:9090"


def test_the_process_and_not_its_thread_is_named(host: Host) -> None:
    """A series has the name of the thread that made the socket; the process's is shown."""
    group = host.cgroup("/session")
    host.process(7, "java", "/session")
    host.process(8, "other", "/elsewhere")
    who = host.identity()
    assert who.workload(group, "http-nio-8080-A", 8080, server=True, pid=7).name == "java:8080"
    assert who.workload(group, "http-nio", 8081, server=True, pid=8).name == "http-nio:8081"
    assert who.workload(group, "http-nio", 8082, server=True, pid=99).name == "http-nio:8082"


def test_a_server_that_calls_others_is_the_same_service(host: Host) -> None:
    """The client's side of a process that listens has the server's name."""
    group = host.cgroup("/session")
    host.network("host", listeners={11: ("0.0.0.0", 9000), 12: ("0.0.0.0", 8080)})
    host.process(7, "python3", "/session", sockets=(11, 12))
    host.process(9, "python3", "/session")
    who = host.identity()
    assert who.workload(group, "python3", 5000, server=False, pid=7).name == "python3:8080"
    assert who.workload(group, "python3", 5000, server=False, pid=9).name == "python3"
    host.process(10, "ruby", "/session")
    assert who.workload(group, "ruby", 4000, server=True, pid=10).name == "ruby:4000"
    assert who.workload(group, "ruby", 5000, server=False, pid=10).name == "ruby:4000"


def test_an_unknown_client_is_told_as_such(host: Host) -> None:
    """A connection older than the agent may have no command at all."""
    group = host.cgroup("/session")
    assert host.identity().workload(group, "", 80, server=False).name == "unknown"


def test_a_new_cgroup_is_found_at_the_next_refresh(host: Host) -> None:
    """A series of a cgroup not seen before gets its name within a second."""
    who = host.identity()
    group = host.cgroup("/system.slice/late.service")
    assert who.workload(group, "late", 80, server=True).name == "late:80"
    host.now += SECOND
    assert who.refresh() == {"late:80"}
    assert who.workload(group, "late", 80, server=True).name == "late.service"
    assert who.refresh() == set()


def test_a_new_listener_is_found_after_some_seconds(host: Host) -> None:
    """A process whose name the kernel does not know is looked for, at most every five seconds."""
    group = host.cgroup("/session")
    host.network("host", listeners={})
    who = host.identity()
    assert who.workload(group, "", 8080, server=True).name == ":8080"
    host.network("host", listeners={11: ("0.0.0.0", 8080)})
    host.process(7, "python3", "/session", sockets=(11,))
    host.now += SECOND
    assert who.refresh() == set()
    host.now += 60 * SECOND
    assert who.refresh() == {":8080"}
    assert who.workload(group, "", 8080, server=True).name == "python3:8080"


def test_what_cannot_be_found_is_not_looked_for_forever(host: Host) -> None:
    """After three walks in vain a cgroup that is gone costs a walk a minute."""
    who = host.identity()
    walks = 0
    walk = who._tree.walk

    def counted() -> None:
        nonlocal walks
        walks += 1
        walk()

    who._tree.walk = counted  # type: ignore[method-assign]
    who.workload(123456789, "x", 80, server=True)
    for _ in range(120):
        host.now += SECOND
        who.refresh()
    assert walks == 4


def test_nothing_is_looked_for_without_need(host: Host) -> None:
    """While everything is known, a refresh does nothing at all."""
    unit = host.cgroup("/system.slice/nginx.service")
    who = host.identity()
    who.workload(unit, "", 80, server=True)
    shutil.rmtree(host.proc)
    shutil.rmtree(host.cgroups)
    host.now += 100 * SECOND
    assert who.refresh() == set()
    assert who.workload(unit, "", 80, server=True).name == "nginx.service"


def test_servers_on_this_host_are_known_by_address(host: Host) -> None:
    """An address and port of this host leads to the service that listens there."""
    host.cgroup("/system.slice/nginx.service")
    caller = host.cgroup("/session")
    inside = host.cgroup(f"/docker/{ID}")
    host.network(
        "host",
        listeners={11: ("0.0.0.0", 80), 12: ("127.0.0.1", 3000)},
        addresses=("192.0.2.2",),
    )
    host.network("box", listeners={22: ("0.0.0.0", 3000)}, addresses=("172.17.0.2",))
    host.process(5, "curl", "/session")
    host.process(7, "nginx", "/system.slice/nginx.service", sockets=(11,))
    host.process(8, "python3", "/session", sockets=(12,))
    host.process(9, "node", f"/docker/{ID}", sockets=(22,), netns="box")
    host.write(f"var/lib/docker/containers/{ID}/config.v2.json", {"Name": "/api"})
    who = host.identity()
    assert who.server_at(v4("192.0.2.2"), 80) == "nginx.service"
    assert who.server_at(v4("127.0.0.1"), 80) == "nginx.service"
    assert who.server_at(v4("172.17.0.2"), 3000) == "docker:api"
    assert who.server_at(v4("192.0.2.2"), 3000) is None
    assert who.server_at(v4("172.17.0.2"), 80) is None
    assert who.server_at(v4("192.0.2.9"), 80) is None
    assert who.server_at(v4("127.0.0.1"), 3000, caller) == "python3:3000"
    assert who.server_at(v4("127.0.0.1"), 3000, inside) == "docker:api"
    assert who.server_at(v4("127.0.0.1"), 3000) is None
    assert who.resident_at(v4("172.17.0.2")) == "docker:api"
    assert who.resident_at(v4("192.0.2.2")) is None
    assert who.resident_at(v4("203.0.113.1")) is None


def test_a_server_that_starts_later_is_known_by_address(host: Host) -> None:
    """An address that led nowhere is looked up again, and leads to what listens there by then."""
    host.network("host", listeners={}, addresses=("192.0.2.2",))
    host.process(7, "python3")
    who = host.identity()
    assert who.server_at(v4("192.0.2.2"), 80) is None
    host.network("host", listeners={11: ("0.0.0.0", 80)}, addresses=("192.0.2.2",))
    host.process(8, "caddy", sockets=(11,))
    host.now += 60 * SECOND
    who.refresh()
    assert who.server_at(v4("192.0.2.2"), 80) == "caddy:80"


def test_a_later_name_is_still_the_process_s(host: Host) -> None:
    """When the cgroup of a server is found at last, its process is still the one that was told."""
    host.process(7, "java", "/late")
    who = host.identity()
    (host.cgroups / "late").mkdir()
    group = (host.cgroups / "late").stat().st_ino
    assert who.workload(group, "http-nio", 80, server=True, pid=7).cgroup == ""
    host.now += SECOND
    assert who.refresh() == {"java:80"}
    found = who.workload(group, "http-nio", 80, server=True, pid=7)
    assert (found.name, found.cgroup) == ("java:80", "/late")


def test_a_host_without_anything_is_borne(host: Host) -> None:
    """No cgroups, no processes: everything is named by what the series itself says."""
    shutil.rmtree(host.cgroups)
    who = host.identity()
    assert who.workload(1, "curl", 80, server=False).name == "curl"
    assert who.workload(1, "nginx", 80, server=True).name == "nginx:80"

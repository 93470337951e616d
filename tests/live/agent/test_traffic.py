"""What the agent remembers of traffic: what a change makes of it, and the policies that allow it."""

from __future__ import annotations

import json

from tests.live.agent.test_policies import Policed, policed
from tests.live.kit.waiting import until
from tests.live.kit.world import World

__all__ = ["policed"]

_CALLER = "backup.service"


def asked(policed: Policed) -> dict[tuple[str, str, str], int]:
    """Return how often what was asked, by caller, method and route."""
    found: dict[tuple[str, str, str], int] = {}
    for one in policed.agent.client.traffic().exchanges:
        if one.port == policed.server.port:
            key = one.caller.service or one.caller.address or "", one.method, one.route
            found[key] = found.get(key, 0) + one.count
    return found


def local(world: World, policed: Policed, path: str, *, times: int = 1) -> None:
    """Ask from a unit on the same host, over its own address."""
    cgroup = world.cgroup / _CALLER
    cgroup.mkdir(exist_ok=True)
    url = f"http://{policed.server.address}:{policed.server.port}{path}"
    for _ in range(times):
        world.server.run(
            "sh", "-ec", 'echo $$ >"$0"; exec "$@"', str(cgroup / "cgroup.procs"),
            "curl", "-s", "-o", "/dev/null", url,
        )  # fmt: skip


def test_diff_and_generate(world: World, policed: Policed) -> None:
    """Callers are told apart, counted, and allowed by what is generated; another policy is compared."""
    ask = policed.server.request
    for number in range(5):
        ask(f"/users/{number}")
    ask("/upload", "POST", b"x")
    try:
        local(world, policed, "/backup", times=3)
        remote = world.client.ip4
        expected = {
            (remote, "GET", "/users/{id}"): 5,
            (remote, "POST", "/upload"): 1,
            (_CALLER, "GET", "/backup"): 3,
        }
        until(lambda: asked(policed) == expected, f"{asked(policed)} is {expected}", seconds=15)
        done = policed.axon("generate", "--mode", "enforce")
        assert done.returncode == 0, done.stderr
        for line in (
            f"ports: [{{port: {policed.server.port}}}]",
            f'{{ipBlock: {{cidr: "{remote}/32"}}}}',
            f"{{podSelector: {{matchLabels: {{axon.dev/unit: {_CALLER}}}}}}}",
            '{method: GET, path: "/users/{id}"}  # 5 times',
            '{method: GET, path: "/backup"}  # 3 times',
        ):
            assert line in done.stdout
        generated = done.stdout
        policed.file.write_text(generated)
        same = policed.axon("diff", "-f", str(policed.file))
        assert (same.returncode, same.stderr) == (0, "")
        assert same.stdout == (
            "Of 9 requests 0 would be newly denied, 0 would be newly audited, "
            "0 would be newly allowed.\n"
        )
        policed.file.write_text(policed.policy("/users/3"))
        less = policed.axon("diff", "-f", str(policed.file), "-o", "json")
        assert less.returncode == 1
        assert {
            (d["change"], d["caller"], d["route"], d["count"]) for d in json.loads(less.stdout)
        } == {
            ("denied", remote, "/users/{id}", 5),
            ("denied", remote, "/upload", 1),
            ("denied", _CALLER, "/backup", 3),
        }
        assert policed.apply(generated).returncode == 0
        assert [ask(f"/users/{n}") for n in (1, 77)] == [200, 200]
        assert ask("/backup") == 403
        local(world, policed, "/users/7")
        local(world, policed, "/backup")
    finally:
        (world.cgroup / _CALLER).rmdir()
    until(lambda: (remote, "GET", "/backup") in asked(policed), "the denial is remembered")
    policed.file.write_text(policed.policy("/**", name=f"python3-{policed.server.port}"))
    more = policed.axon("diff", "-f", str(policed.file), "--all")
    assert more.returncode == 0, more.stdout
    assert f"newly allowed  1  {remote} -> " in more.stdout
    assert "/backup\n" in more.stdout
    again = policed.axon("generate")
    assert "# 7 times" in again.stdout
    assert again.stdout.count("/backup") == 1
    assert 'path: "/users/{id}"}  # once' not in again.stdout


def test_other_traffic(policed: Policed) -> None:
    """Traffic of another time is judged from a file."""
    policed.server.request("/users/3")
    until(lambda: bool(asked(policed)), "it is remembered")
    saved = policed.file.with_name("traffic.json")
    done = policed.axon("diff", "-f", str(policed.directory), "--traffic", str(policed.file))
    assert done.returncode == 1
    assert "Cannot read" in done.stderr
    saved.write_text("{}")
    done = policed.axon("generate", "--traffic", str(saved))
    assert "is not what GET /api/v1/traffic gives" in done.stderr
    saved.write_text(json.dumps({"seconds": 1, "lost": 0, "exchanges": []}))
    done = policed.axon("diff", "-f", str(policed.directory), "--traffic", str(saved))
    assert done.stdout.startswith("Of 0 requests")

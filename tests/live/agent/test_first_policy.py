"""What the README shows of policies, by an agent that has the rights of the systemd unit and no others."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from axon.kernel import tc
from axon.kernel.netlink import interfaces
from tests.live.agent.conftest import Running
from tests.live.agent.test_privileges import confined
from tests.live.kit.gate import inside
from tests.live.kit.nginx import wait_until_listening
from tests.live.kit.waiting import until
from tests.live.kit.world import Place, World

_README = Path(__file__).parents[3] / "README.md"
_PORT = 8000
_CALLER = "backup.service"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """Give a directory with the README's policy."""
    directory = tmp_path / "policies"
    directory.mkdir()
    (text,) = re.findall(r"```yaml\n(.*?)```", _README.read_text("utf-8"), re.DOTALL)
    assert f'"{_PORT}"' in text
    assert _CALLER in text
    (directory / "files.yaml").write_text(text)
    return directory


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Place]:
    """Give a place with the README's server in it."""
    for folder in ("public", "private"):
        (tmp_path / "files" / folder).mkdir(parents=True)
        (tmp_path / "files" / folder / "a").write_text("a")
    web = ("python3", "-m", "http.server", str(_PORT), "--directory", str(tmp_path / "files"))
    server = world.server.start(*web)
    wait_until_listening(world.server, _PORT, server)
    yield world.server
    world.server.end(server)


@pytest.fixture
def backup(world: World) -> Iterator[Path]:
    """Give the cgroup of a caller's unit."""
    cgroup = world.cgroup / _CALLER
    cgroup.mkdir()
    yield cgroup
    cgroup.rmdir()


def ask(place: Place, path: str, cgroup: Path | None = None) -> str:
    """Ask by curl, maybe from a cgroup; return the status and the policy that the answer names."""
    what = "%{http_code} %header{x-axon-policy}"
    curl = ["curl", "-s", "-o", "/dev/null", "-w", what, f"http://127.0.0.1:{_PORT}{path}"]
    enter = (
        ["sh", "-ec", 'echo $$ >"$0"; exec "$@"', str(cgroup / "cgroup.procs")] if cgroup else []
    )
    return place.run(*enter, *curl).strip()


def mode(agent: Running, *words: str) -> str:
    """Switch, or ask."""
    command = [*confined(), sys.executable, "-m", "axon", "policy", "mode", *words]
    said = subprocess.run(
        command, env=agent.environment, capture_output=True, text=True, check=True, timeout=60
    )
    return said.stdout.strip()


def verdicts(agent: Running, place: Place) -> dict[str, int]:
    """Return what /metrics says of the README's policy."""
    text = place.run("curl", "-s", f"http://127.0.0.1:{agent.port}/metrics")
    line = r'^axon_policy_verdicts_total{policy="files",namespace="default",verdict="(\w+)"} (\d+)'
    return {verdict: int(count) for verdict, count in re.findall(line, text, re.MULTILINE)}


def test_what_the_readme_shows(agent: Running, place: Place, policies: Path, backup: Path) -> None:
    """Requests are allowed and denied by path and by caller, switched, changed, and let by at the end."""
    agent.command = ("nsenter", f"--net=/run/netns/{place.name}", *confined(), *agent.command)
    agent.start("--policy", str(policies))
    assert ask(place, "/public/a") == "200"
    assert ask(place, "/private/a") == "403 default/files"
    until(lambda: ask(place, "/private/a", backup) == "200", "the caller's unit is known")
    assert ask(place, "/private/a") == "403 default/files"

    assert mode(agent, "audit") == "audit (it was enforce)"
    assert ask(place, "/private/a") == "200"
    before = verdicts(agent, place)
    assert before["dropped"] >= 2
    assert before["audit"] == 1
    assert before["forwarded"] >= 2
    assert mode(agent, "enforce") == "enforce (it was audit)"
    assert ask(place, "/private/a") == "403 default/files"

    file = policies / "files.yaml"
    file.write_text(file.read_text().replace("/public/*", "/private/*"))
    until(lambda: ask(place, "/private/a") == "200", "the file's change is taken up", 5)
    assert ask(place, "/public/a") == "403 default/files"

    assert agent.terminate() == 0
    assert ask(place, "/public/a") == "200"
    left = inside(place, lambda: [tc.attached(tc.Point(one.index)) for one in interfaces()])
    assert not any(left)

"""`axon policy diff` and `generate`: what was asked, judged and allowed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from axon.api import policy as api
from axon.cli import main
from axon.policy import parse_policies
from tests.unit.cli.canned import Canned
from tests.unit.cli.test_policy_files import file, place
from tests.unit.policy.files.test_directory import WEB

__all__ = ["file", "place"]

LABELS = {"app": "web", "axon.dev/service": "nginx.service", "axon.dev/unit": "nginx.service"}
RULES = '  ingress: [{httpRules: [{method: GET, path: "/users/{id}"}]}]\n'


def exchange(route: str, count: int, **more: object) -> api.Exchange:
    """Return what an address has asked nginx for."""
    caller = api.Caller(service="", labels=None, namespace="default", address="10.0.0.7")
    fields: dict[str, object] = {
        "service": "nginx.service", "labels": LABELS, "namespace": "default", "port": 80,
        "caller": caller, "method": "GET", "denied": False, "samples": [],
    }  # fmt: skip
    return api.Exchange(route=route, count=count, **(fields | more))  # type: ignore[arg-type]


@pytest.fixture
def asked(agent: Canned) -> Canned:
    """An agent that has seen requests on two routes."""
    agent.exchanges = [exchange("/users/{id}", 1200), exchange("/admin", 3)]
    return agent


def test_diff(asked: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what would be newly denied, why, and how often; and ends with status 1 for that."""
    file.write_text(WEB + RULES)
    assert main(["policy", "diff", "-f", str(file)]) == 1
    first, why, last = capsys.readouterr().out.splitlines()
    assert first == "newly denied  3  10.0.0.7 -> nginx.service port 80: GET /admin"
    assert "Nearest is default/web ingress[0].httpRules[0]" in why
    assert last == (
        "Of 1,203 requests 3 would be newly denied, 0 would be newly audited, "
        "0 would be newly allowed."
    )
    main(["policy", "apply", "-f", str(file)])
    capsys.readouterr()
    assert main(["policy", "diff", "-f", str(file), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    other = file.with_name("other.yaml")
    other.write_text(WEB.replace("name: web", "name: other").replace("app: web", "app: db"))
    assert main(["policy", "diff", "-f", str(other)]) == 0
    assert "0 would be newly allowed" in capsys.readouterr().out
    assert main(["policy", "diff", "--all", "-f", str(other), "-o", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["change"], found["route"], found["before"]["policy"]) == (
        "allowed",
        "/admin",
        "default/web",
    )


def test_diff_says_when_files_are_not_in_force(
    asked: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It compares by files; that something else is in force is said."""
    (place / "mine.yaml").write_text(WEB)
    assert main(["policy", "diff", "-f", str(file)]) == 0
    assert "what is in force is not what the files say" in capsys.readouterr().err


def test_generate(
    asked: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in force denies is left out; what is printed can be applied as it is."""
    assert main(["policy", "generate", "--mode", "enforce"]) == 0
    said = capsys.readouterr()
    (policy,) = parse_policies(said.out, "generated")
    assert said.out.startswith("# What 1,203 requests have asked for.\n# nginx.service\napiVersion")
    assert "  # 1,200 times\n" in said.out
    assert policy.mode == "enforce"
    file.write_text(WEB + RULES)
    main(["policy", "apply", "-f", str(file)])
    capsys.readouterr()
    assert main(["policy", "generate"]) == 0
    text = capsys.readouterr().out
    assert "/admin" not in text
    assert "mode: audit" in text
    assert main(["policy", "generate", "--workload", "app=web"]) == 0
    capsys.readouterr()
    assert main(["policy", "generate", "--workload", "redis.service"]) == 1
    assert "Nothing was asked of such a workload" in capsys.readouterr().err


def test_generate_for_a_command(
    asked: Canned, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A caller whose command is no service's name is allowed by its command."""
    labels = {"axon.dev/command": "tokio:worker", "axon.dev/service": ""}
    caller = api.Caller(service="tokio:worker", labels=labels, namespace="default", address=None)
    asked.exchanges = [exchange("/a", 1, caller=caller)]
    assert main(["policy", "generate"]) == 0
    assert 'matchLabels: {axon.dev/command: "tokio:worker"}' in capsys.readouterr().out


def test_traffic_of_a_file(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an agent traffic comes from a file, and what is lost of it is said."""
    monkeypatch.setenv("AXON_RUN_DIR", str(tmp_path))
    saved = tmp_path / "traffic.json"
    found = api.Traffic(seconds=9, lost=7, exchanges=[exchange("/a", 2)])
    saved.write_bytes(msgspec.json.encode(found))
    assert main(["policy", "generate", "--traffic", str(saved)]) == 0
    said = capsys.readouterr()
    assert 'path: "/a"' in said.out
    assert "7 requests are left out" in said.err
    file.write_text(WEB)
    directory = tmp_path / "none"
    directory.mkdir()
    diff = ["policy", "diff", "-f", str(file), "--policy", str(directory)]
    assert main([*diff, "--traffic", str(saved)]) == 1
    capsys.readouterr()
    assert main(diff) == 1
    assert "No agent is running that has seen traffic" in capsys.readouterr().err
    saved.write_text("[]")
    assert main([*diff, "--traffic", str(saved)]) == 1
    assert "is not what GET /api/v1/traffic gives" in capsys.readouterr().err


def test_an_agent_that_remembers_nothing(
    asked: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said what to set."""
    asked.remembers = 0
    assert main(["policy", "generate"]) == 1
    assert "set traffic_hours" in capsys.readouterr().err

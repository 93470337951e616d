"""Policies of an agent in a place of its own: applied, listed, deleted; labels that a user gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axon.api.filters import FlowFilter
from tests.live.agent.conftest import Running, Server
from tests.live.kit.waiting import until
from tests.live.kit.world import World, ip

POLICY = """\
# what the tests may ask for
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: {name}}}
spec:
  podSelector: {{matchLabels: {{{selector}}}}}
  ingress:
    - httpRules: [{{path: "{path}"}}]
"""


class Policed:
    """An agent in the servers' place, with a directory of policies, and the command line."""

    def __init__(self, world: World, agent: Running, server: Server, scratch: Path) -> None:
        self.agent = agent
        self.server = server
        self.directory = scratch / "policies"
        self.labels = scratch / "labels.yaml"
        self.file = scratch / "new.yaml"
        self.directory.mkdir()
        self.labels.write_text("[]\n")
        # Its network namespace is the servers': the gate is nowhere else.
        namespace = f"--net=/run/netns/{world.server.name}"
        agent.command = ("nsenter", namespace, sys.executable, "-m", "axon", "run", "--no-table")
        agent.environment["AXON_POLICY"] = str(self.directory)
        agent.environment["AXON_POLICY_LABELS"] = str(self.labels)

    def axon(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `axon policy`."""
        return self.run("policy", *words)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `axon`."""
        return subprocess.run(
            [sys.executable, "-m", "axon", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": os.environ["PATH"], "AXON_RUN_DIR": str(self.agent.run_dir)},
        )

    def apply(self, text: str) -> subprocess.CompletedProcess[str]:
        """Apply the policies of a text."""
        self.file.write_text(text)
        return self.axon("apply", "-f", str(self.file))

    def policy(self, path: str, *, name: str = "web", selector: str = "") -> str:
        """Return a policy that allows a path, for the server's port or another selector."""
        selector = selector or f'axon.dev/port: "{self.server.port}"'
        return POLICY.format(name=name, selector=selector, path=path)

    def rows(self) -> dict[str, Any]:
        """Return what list says, by name."""
        done = self.axon("list", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)["policies"]}


@pytest.fixture
def policed(world: World, agent: Running, server: Server, tmp_path: Path) -> Iterator[Policed]:
    """Give an agent that runs without a policy yet. The cable is its host's way to the world."""
    made = Policed(world, agent, server, tmp_path)
    way = ("-n", world.server.name, "route")
    ip(*way, "add", "default", "via", world.client.ip4)
    agent.start()
    yield made
    ip(*way, "del", "default")


def test_apply_list_delete(policed: Policed) -> None:
    """What is applied is in force when the command ends, listed with what it decided, and deleted."""
    ask = policed.server.request
    assert ask("/status/200") == 200
    done = policed.apply(policed.policy("/allowed"))
    assert done.returncode == 0, done.stderr
    assert "default/web: created, in force" in done.stdout
    assert (policed.directory / "default_web.yaml").read_text() == policed.file.read_text()
    assert ask("/allowed") == 200
    assert ask("/secret") == 403
    policed.agent.tick()
    row = policed.rows()["web"]
    assert (row["in_force"], row["forwarded"], row["dropped"], row["rules"]) == ("yes", 1, 1, 1)
    assert len(row["workloads"]) == 1
    assert row["workloads"][0].endswith(f":{policed.server.port}")
    assert row["file"] == f"{policed.directory}/default_web.yaml:2"
    generation = policed.agent.client.policies().generation
    assert policed.apply(policed.policy("/secret")).returncode == 0
    assert policed.agent.client.policies().generation > generation
    assert [ask(path) for path in ("/allowed", "/secret")] == [403, 200]
    done = policed.axon("delete", "web")
    assert done.returncode == 0, done.stderr
    assert [ask(path) for path in ("/allowed", "/secret")] == [200, 200]
    assert policed.rows() == {}


def test_what_is_refused_changes_nothing(policed: Policed) -> None:
    """A bound that only the agent knows of leaves directory and policies as they were."""
    assert policed.apply(policed.policy("/allowed")).returncode == 0
    rules = ", ".join(f'{{path: "/{i}/{"x" * 200}"}}' for i in range(250))
    many = "---\n".join(
        policed.policy("/", name=f"n{n}").replace('{path: "/"}', rules) for n in range(66)
    )
    done = policed.apply(many)
    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr
    assert [one.name for one in policed.directory.glob("[!.]*")] == ["default_web.yaml"]
    assert policed.server.request("/secret") == 403
    assert policed.agent.client.policies().problem == ""


def test_a_broken_file_is_listed_with_its_place(policed: Policed) -> None:
    """What is wrong in the directory is in the API and in the list, and the policies in force stay."""
    assert policed.apply(policed.policy("/allowed")).returncode == 0
    broken = policed.directory / "mine.yaml"
    broken.write_text("kind: Pod\n")
    until(lambda: policed.agent.client.policies().problem != "", "the agent has seen it")
    done = policed.axon("list")
    assert f"{broken}:1:" in done.stderr
    assert "yes" in done.stdout
    assert policed.server.request("/secret") == 403
    done = policed.apply(policed.policy("/secret"))
    assert (done.returncode, f"{broken}:1:" in done.stderr) == (1, True)
    broken.unlink()
    until(lambda: policed.agent.client.policies().problem == "", "the agent has seen it")


def test_labels_that_the_user_gives(world: World, policed: Policed) -> None:
    """Servers and callers are known by the labels of a file; a change counts within seconds, and a file
    that cannot be read changes nothing.
    """
    port = policed.server.port
    web = f"- {{match: {{port: {port}}}, labels: {{app: web}}}}\n"
    office = f"- {{match: {{address: {world.client.ip4}}}, labels: {{app: office}}}}\n"
    policy = policed.policy("/allowed", selector="app: web").replace(
        "- httpRules", "- from: [{podSelector: {matchLabels: {app: office}}}]\n      httpRules"
    )
    assert policed.apply(policy).returncode == 0
    ask = policed.server.request
    assert ask("/secret") == 200
    policed.labels.write_text(web)
    until(lambda: ask("/allowed") == 403, "the server is selected")
    policed.labels.write_text(web + office)
    until(lambda: ask("/allowed") == 200, "the caller is known")
    assert ask("/secret") == 403
    policed.labels.write_text("- {match: {port: x}}\n")
    until(lambda: policed.agent.client.policies().problem != "", "the agent has seen it")
    assert f"{policed.labels}:1:18: port must be a number" in policed.axon("list").stderr
    assert [ask("/allowed"), ask("/secret")] == [200, 403]
    time.sleep(1.1)
    assert [ask("/allowed"), ask("/secret")] == [200, 403]
    policed.labels.write_text("[]\n")
    until(lambda: ask("/secret") == 200, "the server is not selected any more")


def test_who_comes_while_a_file_is_broken(world: World, policed: Policed) -> None:
    """A unit that starts while a file cannot be read is selected by the policies in force."""
    assert (
        policed.apply(policed.policy("/x", selector="axon.dev/unit: late.service")).returncode == 0
    )
    (policed.directory / "mine.yaml").write_text("kind: Pod\n")
    until(lambda: policed.agent.client.policies().problem != "", "the agent has seen it")
    late = world.cgroup / "late.service"
    late.mkdir()
    try:
        until(
            lambda: policed.agent.client.policies().generation > 2, "its cgroup is known", seconds=5
        )
    finally:
        late.rmdir()


def test_observe_by_verdict(policed: Policed) -> None:
    """Requests are shown by what became of them, with who decided, why, and who asked."""
    recent = policed.agent.client.recent
    assert policed.apply(policed.policy("/allowed")).returncode == 0
    paths = ("/allowed", "/secret?token=1", "/secret")
    assert [policed.server.request(path) for path in paths] == [200, 403, 403]
    dropped = FlowFilter(verdict=("dropped",))
    until(lambda: len(recent(dropped)) == 2, "the denied requests are told of")
    for flow in recent(dropped):
        assert (flow.method, flow.path, flow.status) == ("GET", "/secret", 403)
        assert (flow.policy, flow.rule, flow.denial) == ("default/web", None, "rule")
        assert (flow.caller, flow.destination.port) == ("world", policed.server.port)
        assert "denied" in flow.reasons
    (flow,) = recent(FlowFilter(verdict=("forwarded",)))
    assert (flow.path, flow.status, flow.denial) == ("/allowed", 200, None)
    assert (flow.policy, flow.rule) == ("default/web", "ingress[0].httpRules[0]")
    shown = policed.run("observe", "--verdict", "dropped").stdout
    assert shown.count("/secret (denied by default/web: rule)") == 2


def test_observe_what_an_audit_would_deny(world: World, policed: Policed) -> None:
    """Under audit everything is answered; what would not be is shown with the policy, why, and who asked: by the API,
    by the command line, also as it happens, and in the metrics.
    """
    caller = world.cgroup / "backup.service"
    caller.mkdir()
    try:
        peers = f"from: [{{podSelector: {{matchLabels: {{axon.dev/unit: {caller.name}}}}}}}]"
        text = policed.policy("/allowed").replace("spec:", "spec:\n  mode: audit")
        text = text.replace("- httpRules", f"- {peers}\n      httpRules")
        assert policed.apply(text).returncode == 0
        assert policed.server.request("/allowed") == 200
        for path in ("/allowed", "/secret?token=1"):
            assert _ask_from(world, policed, caller, path) == "200"
        _expect_audited(policed, caller.name)
        metrics = world.server.run("curl", "-s", f"http://127.0.0.1:{policed.agent.port}/metrics")
        for verdict, count in (("forwarded", 1), ("audit", 2), ("dropped", 0)):
            labels = f'policy="web",namespace="default",verdict="{verdict}"'
            assert f"axon_policy_verdicts_total{{{labels}}} {count}\n" in metrics
        assert policed.rows()["web"]["audit"] == 2
        following = subprocess.Popen(
            [sys.executable, "-m", "axon", *_FOLLOW],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "AXON_RUN_DIR": str(policed.agent.run_dir)},
        )
        until(lambda: _asks_until_ended(world, policed, caller, following), "it has been shown")
        assert following.stdout
        with following.stdout as stream:
            shown = json.loads(stream.read())
        assert (shown["path"], shown["verdict"], shown["denial"]) == ("/followed", "audit", "rule")
    finally:
        caller.rmdir()


_FOLLOW = ("observe", "--follow", "--verdict", "audit", "--limit", "1", "-o", "jsonl")


def _asks_until_ended(
    world: World, policed: Policed, cgroup: Path, follower: subprocess.Popen[bytes]
) -> bool:
    """Ask for what is allowed and for what would not be; return whether who follows has enough."""
    for path in ("/allowed", "/followed"):
        assert _ask_from(world, policed, cgroup, path) == "200"
    return follower.poll() is not None


def _ask_from(world: World, policed: Policed, cgroup: Path, path: str) -> str:
    """Ask from a cgroup on the servers' host, over its own address; return the status."""
    url = f"http://{policed.server.address}:{policed.server.port}{path}"
    enter = ("sh", "-ec", 'echo $$ >"$0"; exec "$@"', str(cgroup / "cgroup.procs"))
    curl = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url)
    return world.server.run(*enter, *curl)


def _expect_audited(policed: Policed, unit: str) -> None:
    """Fail unless one request from elsewhere and one of a unit would have been denied, and one of it allowed."""
    recent = policed.agent.client.recent
    audited = FlowFilter(verdict=("audit",))
    until(lambda: len(recent(audited)) == 2, "what would be denied is told of")
    found = {flow.path: flow for flow in recent(audited)}
    for path, who in (("/allowed", "world"), ("/secret", unit)):
        flow = found[path]
        assert (flow.method, flow.status, flow.verdict) == ("GET", 200, "audit")
        assert (flow.policy, flow.rule, flow.denial) == ("default/web", None, "rule")
        assert who in (flow.caller or "")
    assert recent(FlowFilter(verdict=("dropped",))) == []
    (flow,) = recent(FlowFilter(verdict=("forwarded",)))
    assert (flow.policy, flow.rule) == ("default/web", "ingress[0].httpRules[0]")
    assert unit in (flow.caller or "")
    shown = policed.run("observe", "--verdict", "audit").stdout
    assert "/secret (default/web would deny it: rule)\n" in shown
    assert "/allowed (default/web would deny it: rule)\n" in shown
    wide = policed.run("observe", "--verdict", "audit", "-o", "wide").stdout
    (line,) = (line for line in wide.splitlines() if "/secret" in line)
    assert " audit " in line
    assert unit in line
    shown = policed.run("observe", "--verdict", "forwarded", "-o", "wide").stdout
    assert "default/web ingress[0].httpRules[0]" in shown
    rows = json.loads(policed.run("observe", "--verdict", "audit", "-o", "json").stdout)
    assert [(row["verdict"], row["status"]) for row in rows] == [("audit", 200)] * 2

"""`axon policy apply`, `list` and `delete`, with an agent and without."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from axon.cli import main
from axon.policy.files import directory as directories
from axon.policy.files.directory import Directory
from tests.unit.cli.canned import Canned
from tests.unit.policy.files.test_directory import OTHER, WEB

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REFUSED = (
    f"{WEB.replace('app: web', 'app: shop')}---\n{OTHER.replace('name: other', 'name: heavy')}"
)
"""What the agent refuses: one policy in another form, and one that is too large."""


@pytest.fixture
def place(agent: Canned, tmp_path: Path) -> Path:
    """The directory of an agent that runs."""
    agent.directory = tmp_path / "policies"
    agent.directory.mkdir()
    return agent.directory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of two policies."""
    path = tmp_path / "two.yaml"
    path.write_text(f"{WEB}---\n{OTHER}")
    return path


def test_apply_brings_into_force(
    agent: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each policy is written, and said to be in force when the agent says so."""
    assert main(["policy", "apply", "-f", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"default/web: created, in force ({place}/default_web.yaml)",
        f"default/other: created, in force ({place}/default_other.yaml)",
    ]
    assert [policy.name for policy in agent.in_force] == ["other", "web"]


def test_a_dry_run_writes_nothing(
    agent: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what would be done."""
    assert main(["policy", "apply", "--dry-run", "-f", str(file)]) == 0
    assert "default/web: would be created" in capsys.readouterr().out
    assert not list(place.iterdir())
    assert not agent.in_force


def test_what_the_agent_refuses_is_taken_back(
    agent: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The directory is as it was, and the message is the agent's."""
    main(["policy", "apply", "-f", str(file)])
    capsys.readouterr()
    file.write_text(REFUSED)
    assert main(["policy", "apply", "-f", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "axon: The policies need more than there is.\nThe directory is as it was"
    )
    assert (place / "default_web.yaml").read_text() == WEB
    assert not (place / "default_heavy.yaml").exists()
    assert agent.problem == ""


def test_who_has_enough_of_waiting(
    agent: Canned, place: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before the agent has answered leaves the directory as it was."""
    before = agent.look

    def slow() -> NoReturn:
        assert (place / "default_web.yaml").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("axon.api.client.Client.look", lambda _: slow())
    assert main(["policy", "apply", "-f", str(file)]) == 130
    assert not list(place.glob("[!.]*"))
    assert before().policies == []


@pytest.mark.parametrize("verb", ["apply", "delete"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_ended_while_waiting(
    place: Path, file: Path, monkeypatch: pytest.MonkeyPatch, verb: str, number: signal.Signals
) -> None:
    """A signal that ends a process leaves the directory as it was, and more of them change nothing."""
    (place / "default_web.yaml").write_text(WEB.replace("app: web", "app: old"))
    before = {one: one.read_text() for one in place.glob("[!.]*")}
    handlers = [signal.getsignal(one) for one in ENDING]
    undo = Directory.undo

    def end(_: object) -> NoReturn:
        assert {one: one.read_text() for one in place.glob("[!.]*")} != before
        os.kill(os.getpid(), number)
        time.sleep(10)
        raise AssertionError

    def undone(*arguments: Any) -> None:
        for one in ENDING:
            os.kill(os.getpid(), one)
        undo(*arguments)

    monkeypatch.setattr("axon.api.client.Client.look", end)
    monkeypatch.setattr(Directory, "undo", undone)
    words = ["-f", str(file)] if verb == "apply" else ["web"]
    assert main(["policy", verb, *words]) == 130
    assert {one: one.read_text() for one in place.glob("[!.]*")} == before
    assert [signal.getsignal(one) for one in ENDING] == handlers


def test_who_is_ended_while_it_is_taken_back(
    place: Path, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the agent has refused is taken back whole, and its reason is told."""
    main(["policy", "apply", "-f", str(file)])
    write = Directory._write

    def ended(directory: Directory, files: Any) -> None:
        if any(text == WEB for _, text in files):
            for one in ENDING:
                os.kill(os.getpid(), one)
        write(directory, files)

    monkeypatch.setattr(Directory, "_write", ended)
    file.write_text(REFUSED)
    capsys.readouterr()
    assert main(["policy", "apply", "-f", str(file)]) == 1
    assert "The directory is as it was" in capsys.readouterr().err
    assert (place / "default_web.yaml").read_text() == WEB


def test_two_at_once(agent: Canned, place: Path, file: Path) -> None:
    """What one has written while another waited is not taken back by what that is refused for."""
    main(["policy", "apply", "-f", str(file)])
    later = file.with_name("later.yaml")
    later.write_text(WEB.replace("app: web", "app: mine"))
    file.write_text(REFUSED)
    statuses: list[int] = []
    with Directory(place).locked():
        waiting = threading.Thread(
            target=lambda: statuses.append(main(["policy", "apply", "-f", str(file)]))
        )
        waiting.start()
        waiting.join(0.3)
        directory = Directory(place)
        directory.write(directory.to_apply([later]))
    waiting.join(10)
    assert statuses == [1]
    assert "app: mine" in (place / "default_web.yaml").read_text()


def test_what_cannot_be_taken_back(
    place: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The files that are not as before are named, beside the agent's reason."""
    main(["policy", "apply", "-f", str(file)])
    store = directories._store

    def full(draft: Path, text: str) -> None:
        if text == WEB:
            raise OSError(28, "No space left on device", str(draft))
        store(draft, text)

    monkeypatch.setattr(directories, "_store", full)
    file.write_text(REFUSED)
    capsys.readouterr()
    assert main(["policy", "apply", "-f", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("axon: The policies need more than there is.\nCannot write")
    assert f"to be mended by hand: {place}/default_web.yaml, {place}/default_heavy.yaml." in said
    assert "Nothing was changed" not in said
    assert "as it was" not in said


def test_what_is_wrong_is_not_written(
    place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors have line and column; a bound of policies together is known before anything is written."""
    file.write_text(WEB.replace("spec:", "spek:"))
    assert main(["policy", "apply", "-f", str(file)]) == 1
    assert f"{file}:5:1: a policy has no field spek: write spec" in capsys.readouterr().err
    rules = "  ingress: [{httpRules: [" + "{path: /a*}," * 40 + "]}]\n"
    text = f"{WEB}{rules}---\n{OTHER}{rules}"
    file.write_text(text.replace("{matchLabels: {app: web}}", "{}"))
    assert main(["policy", "apply", "-f", str(file)]) == 1
    assert "80 rules with * inside a segment" in capsys.readouterr().err
    file.write_text("# nothing\n")
    assert main(["policy", "apply", "-f", str(file)]) == 1
    assert "there is no policy in it" in capsys.readouterr().err
    assert not list(place.glob("[!.]*"))


def test_a_host_that_cannot_be_looked_at(
    place: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is said, and nothing is written."""

    def fails(_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("axon.identity.cgroups.CgroupTree.walk", fails)
    assert main(["policy", "apply", "-f", str(file)]) == 1
    assert (
        "The cgroups of this host cannot be looked at: [Errno 24] Too many"
        in capsys.readouterr().err
    )
    assert not list(place.glob("[!.]*"))


def test_delete(agent: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy's file goes, and with it what was in force."""
    main(["policy", "apply", "-f", str(file)])
    capsys.readouterr()
    assert main(["policy", "delete", "web"]) == 0
    assert capsys.readouterr().out == (
        f"default/web: deleted, not in force ({place}/default_web.yaml)\n"
    )
    assert [policy.name for policy in agent.in_force] == ["other"]
    assert main(["policy", "delete", "other", "-n", "prod"]) == 1
    assert "There is no policy prod/other" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_list_says_what_selects_nobody(
    agent: Canned, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy that selects no server is named, and those that select one are not."""
    main(["policy", "apply", "-f", str(file)])
    capsys.readouterr()
    assert main(["policy", "list"]) == 0
    assert capsys.readouterr().err == ""
    agent.selected = []
    assert main(["policy", "list"]) == 0
    assert capsys.readouterr().err == (
        "axon: of the servers that listen or were asked something none is selected by "
        "default/other, default/web.\n"
    )


def test_list(agent: Canned, place: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In force, in force as it was, and not in force are told apart."""
    main(["policy", "apply", "-f", str(file)])
    own = place / "default_web.yaml"
    own.write_text(WEB.replace("app: web", "app: shop"))
    (place / "new.yaml").write_text(WEB.replace("name: web", "name: new"))
    capsys.readouterr()
    assert main(["policy", "list", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["denials"] == {"rule": 4, "held": 9}
    rows = {row["name"]: row for row in listed["policies"]}
    assert {name: row["in_force"] for name, row in rows.items()} == {
        "new": "no",
        "other": "yes",
        "web": "older",
    }
    assert rows["web"]["workloads"] == ["nginx.service"]
    assert (rows["web"]["dropped"], rows["new"]["dropped"]) == (5, None)
    agent.problem = "x.yaml:1:1: it is no YAML."
    assert main(["policy", "list"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split()[:4] == ["default/new", "enforce", "0", "-"]
    assert said.out.endswith("\ndenied: held 9, rule 4\n")
    assert said.err.endswith("not in force:\nx.yaml:1:1: it is no YAML.\n")
    (place / "broken.yaml").write_text("a: b\n")
    assert main(["policy", "list"]) == 0
    assert "default/web" in capsys.readouterr().out


def test_without_an_agent(
    tmp_path: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The directory is named by the setting; nobody says whether what is written is in force."""
    monkeypatch.setenv("AXON_RUN_DIR", str(tmp_path))
    apply = ["policy", "apply", "-f", str(file)]
    assert main(apply) == 1
    assert "--policy" in capsys.readouterr().err
    place = tmp_path / "policies"
    assert main([*apply, "--policy", str(place)]) == 1
    assert "Cannot open the directory" in capsys.readouterr().err
    place.mkdir()
    assert main([*apply, "--policy", str(place)]) == 3
    said = capsys.readouterr()
    assert f"default/web: created, no agent runs ({place}/default_web.yaml)" in said.out
    assert "in force when one does" in said.err
    assert main(["policy", "list", "--policy", str(place), "-o", "json"]) == 0
    said = capsys.readouterr()
    assert [row["in_force"] for row in json.loads(said.out)["policies"]] == ["?", "?"]
    assert "nothing tells whether they are in force" in said.err
    assert main(["policy", "delete", "web", "--policy", str(place)]) == 3
    assert [one.name for one in place.glob("[!.]*")] == ["default_other.yaml"]


def test_an_agent_without_a_directory(agent: Canned, file: Path) -> None:
    """It is said what to set."""
    assert agent.directory is None
    assert main(["policy", "apply", "-f", str(file)]) == 1


def test_another_directory_than_the_agents(
    place: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written elsewhere would not be in force, and is refused."""
    command = ["policy", "apply", "-f", str(file), "--policy"]
    assert main([*command, str(tmp_path)]) == 1
    assert f"has the policies of {place} in force" in capsys.readouterr().err
    assert main([*command, str(place / ".." / "policies")]) == 0

"""When the agent takes up what the files of policies and labels say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from axon.agent.policies import Policies
from axon.errors import PolicyError
from axon.policy.compiler.compile import Host
from axon.policy.files.directory import Directory
from axon.policy.language.model import Policy
from tests.unit.policy.files.test_directory import OTHER, WEB

LABELS = "- {match: {port: 80}, labels: {app: web}}\n"


class Enforced:
    """What is brought into force, in the place of a kernel."""

    cramped = tight = False

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], bool]] = []
        self.labels: list[set[str]] = []
        self.cgroups: list[int] = []
        self.fails: dict[str, Exception] = {}

    def apply(self, policies: list[Policy], host: Host) -> object:
        """Take note of it: the policies' names, and whether there are labels."""
        names = sorted(one.name for one in policies)
        for name in names:
            if name in self.fails:
                raise self.fails[name]
        self.asked.append((names, bool(host.given.entries)))
        self.labels.append({value for one in host.given.entries for _, value in one.labels})
        self.cgroups.append(len(host.cgroups))
        return SimpleNamespace(images=(), left_out=0, unselected=0)


class Place:
    """An agent's policies, with a directory and a file of labels."""

    def __init__(self, path: Path, enforced: Enforced) -> None:
        self.directory = path / "policies"
        self.directory.mkdir()
        self.cgroup = path / "cgroup"
        self.cgroup.mkdir()
        self.web = self.directory / "web.yaml"
        self.web.write_text(WEB)
        self.labels = path / "labels.yaml"
        self.labels.write_text(LABELS)
        self.enforced = enforced
        self.asked = enforced.asked
        self.policies = Policies(self.directory, self.cgroup, self.labels)
        nothing: Any = SimpleNamespace(look=lambda: None)
        self.policies.points = self.policies.ending = nothing

    def enforce(self) -> None:
        """Begin."""
        self.policies.enforce(cast("Any", SimpleNamespace(generation=1)))

    def look(self) -> list[str]:
        """Look as the agent does every second; return the names of what is in force."""
        time.sleep(0.002)
        self.policies.look()
        return self.names

    @property
    def names(self) -> list[str]:
        """The policies in force."""
        return sorted(one.name for one in self.policies.policies)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Policies that have not begun; a second is a millisecond."""
    enforced = Enforced()
    monkeypatch.setattr("axon.agent.policies.Enforcer", lambda *_: enforced)
    monkeypatch.setattr("axon.agent.policies._APART", 0.001)
    return Place(tmp_path, enforced)


class Sleeps:
    """Counts how often is waited for files, and does something the first time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first: Callable[[], object] = int
        self.count = 0
        self._sleep = time.sleep
        monkeypatch.setattr("axon.agent.policies.time", self)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        assert seconds == 0.05
        if not self.count:
            self.first()
        self.count += 1
        self._sleep(seconds)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> Sleeps:
    """Have waits counted."""
    return Sleeps(monkeypatch)


def test_the_start_is_read_twice(place: Place, sleeps: Sleeps) -> None:
    """The agent starts with what files say at two readings."""
    place.enforce()
    assert sleeps.count == 1
    assert place.asked == [(["web"], True)]


def test_a_start_while_a_file_is_written(place: Place, sleeps: Sleeps) -> None:
    """It is waited for."""
    place.web.write_text("")
    sleeps.first = lambda: place.web.write_text(WEB)
    place.enforce()
    assert sleeps.count == 2
    assert place.asked == [(["web"], True)]
    assert place.policies.current


def test_the_labels_are_waited_for_as_well(place: Place, sleeps: Sleeps) -> None:
    """Without the labels policies select nobody."""
    place.labels.write_text("")
    sleeps.first = lambda: place.labels.write_text(LABELS)
    place.enforce()
    assert place.asked == [(["web"], True)]


def test_a_start_on_files_that_do_not_stand_still(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused after some tries, and nothing is in force."""
    tries: list[int] = []

    def write(_: float) -> None:
        tries.append(place.web.write_text(f"{WEB}# {len(tries)}\n"))

    monkeypatch.setattr("axon.agent.policies.time.sleep", write)
    with pytest.raises(PolicyError, match="being written to again and again"):
        place.enforce()
    assert len(tries) == 10
    assert place.asked == []


def test_a_change_is_taken_up_at_the_second_look(place: Place) -> None:
    """What is half written counts for nothing; nor is it called a problem, or what the files say."""
    place.enforce()
    place.web.write_text("")
    assert place.look() == ["web"]
    assert (place.policies.problem, place.policies.current) == ("", False)
    place.web.write_text(OTHER)
    assert [place.look(), place.look()] == [["web"], ["other"]]
    assert (place.policies.problem, place.policies.current) == ("", True)
    place.labels.write_text("")
    place.look()
    place.labels.write_text(LABELS + "- {match: {port: 81}, labels: {app: web}}\n")
    place.look()
    place.look()
    assert [given for _, given in place.asked] == [True] * len(place.asked)


def test_what_cannot_be_read_leaves_what_is_in_force(place: Place) -> None:
    """A link to nothing is told of until it is mended, and its policy stays in force meanwhile."""
    place.enforce()
    place.web.unlink()
    place.web.symlink_to("absent")
    assert [place.look() for _ in range(3)] == [["web"]] * 3
    assert f"{place.web}: it is a link to what cannot be read" in place.policies.problem
    place.web.unlink()
    place.web.write_text(OTHER)
    place.look()
    assert "it is a link" in place.policies.problem
    assert place.look() == ["other"]
    assert place.policies.problem == ""
    assert [names for names, _ in place.asked] == [["web"], ["other"]]


def test_files_that_never_stand_still_are_told_of(place: Place) -> None:
    """After some looks that is a problem; when they do stand still it is none any more."""
    place.enforce()
    said = []
    for n in range(7):
        place.web.write_text(f"{OTHER}# {n}\n")
        assert place.look() == ["web"]
        said.append("again and again" in place.policies.problem)
    assert said == [False] * 5 + [True] * 2
    assert place.look() == ["other"]
    assert place.policies.problem == ""


def test_who_waits_does_not_wait_long(place: Place, sleeps: Sleeps) -> None:
    """What apply has written is in force a moment later, also where looks have come in between.

    Those see who has started, and not what is being written.
    """
    place.enforce()
    for names in (["other"], ["web"]):
        with Directory(place.directory).locked():
            place.web.write_text(OTHER if names == ["other"] else WEB)
            before = place.names
            assert place.look() == before
            (place.cgroup / f"{names[0]}.service").mkdir()
            assert place.look() == before
            assert place.enforced.cgroups[-1] == len(place.policies.host.cgroups)
            assert len(place.policies.host.cgroups) == (2 if names == ["other"] else 3)
            sleeps.count = 0
            place.policies.look(now=True)
        assert sleeps.count == 1
        assert place.names == names
    place.policies.look(now=True)
    assert sleeps.count == 1


@pytest.mark.parametrize("locked", [False, True])
def test_only_who_keeps_others_from_writing_is_served_at_once(
    place: Place, sleeps: Sleeps, monkeypatch: pytest.MonkeyPatch, *, locked: bool
) -> None:
    """Whoever else asks for a look is given what stands still as at any look, and nobody waits for it."""
    place.enforce()
    monkeypatch.setattr("axon.agent.policies._APART", 60)
    sleeps.count = 0
    place.web.write_text(OTHER)
    with Directory(place.directory).locked() if locked else nullcontext():
        place.policies.look(now=True)
    assert (place.names, sleeps.count) == ((["other"], 1) if locked else (["web"], 0))


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_start_while_policies_are_applied(place: Place, *, taken_over: bool) -> None:
    """What is written in part is not what an agent starts with."""
    with ExitStack() as writing:
        writing.enter_context(Directory(place.directory).locked())
        place.web.unlink()

        def write() -> None:
            place.web.write_text(OTHER)
            writing.close()

        later = threading.Timer(0.3, write)
        later.start()
        if taken_over:
            gate: Any = SimpleNamespace(generation=1)
            assert not place.policies.take_over(gate)
        else:
            place.enforce()
        later.join()
    assert place.names == ["other"]
    assert [names for names, _ in place.asked] == [["other"]]


def test_a_start_does_not_wait_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who writes without end keeps no agent from starting."""
    monkeypatch.setattr("axon.agent.policies._WRITING", 2)
    with Directory(place.directory).locked():
        place.enforce()
    assert place.names == ["web"]


def test_policies_that_need_other_maps(place: Place) -> None:
    """They are brought into force in maps of their own; until then the agent is not well."""
    place.enforced.fails["web"] = PolicyError("no room")
    place.enforced.cramped = True
    gate: Any = SimpleNamespace(generation=1)
    assert place.policies.take_over(gate)
    assert "not kept up with this host: no room" in place.policies.fault
    place.enforced.fails.clear()
    place.enforce()
    assert not place.policies.take_over(gate)
    assert place.look() == ["web"]
    assert (place.policies.problem, place.policies.fault) == ("", "")


def test_what_cannot_be_used_is_no_reason_for_other_maps(place: Place) -> None:
    """Files that say nothing leave what an earlier agent has brought into force, which follows no host."""
    place.web.write_text("kind: Pod\n")
    gate: Any = SimpleNamespace(generation=1)
    assert not place.policies.take_over(gate)
    assert str(place.web) in place.policies.fault
    place.web.write_text(WEB)
    place.look()
    assert place.look() == ["web"]
    assert place.policies.fault == ""


def test_policies_and_labels_count_together(place: Place) -> None:
    """A workload that is renamed in both is never judged by one of them as it was."""
    place.enforce()
    place.web.write_text(OTHER)
    place.labels.write_text(LABELS.replace("app: web", "app: [shop"))
    assert [place.look() for _ in range(3)] == [["web"]] * 3
    assert f"{place.labels}:" in place.policies.problem
    place.labels.write_text(LABELS.replace("app: web", "app: shop"))
    assert [place.look(), place.look()] == [["web"], ["other"]]
    assert place.policies.problem == ""
    place.web.write_text("kind: Pod\n")
    place.labels.write_text(LABELS)
    assert [place.look() for _ in range(3)] == [["other"]] * 3
    assert f"{place.web}:" in place.policies.problem
    place.web.write_text(WEB)
    assert [place.look(), place.look()] == [["other"], ["web"]]
    seen = [
        (names, label) for (names, _), label in zip(place.asked, place.enforced.labels, strict=True)
    ]
    assert seen == [(["web"], {"web"}), (["other"], {"shop"}), (["web"], {"web"})]


def test_of_two_files_one_is_seen_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a look falls between two writes both are taken up at once, and not one a look earlier."""
    place.enforce()
    look = place.policies._library.look

    def between(*arguments: Any) -> Any:
        place.labels.write_text(LABELS.replace("app: web", "app: shop"))
        monkeypatch.setattr(place.policies._library, "look", look)
        return look(*arguments)

    place.web.write_text(OTHER)
    monkeypatch.setattr(place.policies._library, "look", between)
    assert [place.look() for _ in range(3)] == [["web"], ["web"], ["other"]]
    assert place.enforced.labels == [{"web"}, {"shop"}]


@pytest.mark.parametrize("fault", [PolicyError("too many"), OSError(12, "Cannot allocate memory")])
def test_who_comes_while_policies_are_refused(place: Place, fault: Exception) -> None:
    """What is in force, with the labels of then, counts for cgroups that have come since."""
    place.enforce()
    place.enforced.fails["other"] = fault
    place.web.write_text(OTHER)
    place.labels.write_text(LABELS.replace("app: web", "app: shop"))
    place.look()
    (place.cgroup / "late.service").mkdir()
    assert [place.look() for _ in range(3)] == [["web"]] * 3
    assert str(fault) in place.policies.problem
    assert place.enforced.labels[-1] == {"web"}
    assert place.enforced.cgroups == [1, 2]
    place.enforced.fails.clear()
    if isinstance(fault, PolicyError):
        place.web.write_text(OTHER.replace("app: web", "app: shop"))
        place.look()
    assert place.look() == ["other"]
    assert (place.policies.problem, place.enforced.labels[-1]) == ("", {"shop"})


def test_what_is_in_force_and_does_not_follow_the_host(place: Place) -> None:
    """It is a fault for as long as it lasts, whether the files are others or the same."""
    place.enforce()
    place.enforced.fails["web"] = PolicyError("no room beside them")
    (place.cgroup / "late.service").mkdir()
    for text in (WEB, OTHER.replace("name: other", "name: web"), "kind: Pod\n"):
        place.web.write_text(text)
        for _ in range(3):
            place.look()
            assert "not kept up with this host: no room beside" in place.policies.fault
    assert len(place.asked) == 1
    (place.cgroup / "late.service").rmdir()
    place.look()
    assert place.policies.fault == ""
    (place.cgroup / "later.service").mkdir()
    place.enforced.fails.clear()
    place.look()
    assert (place.policies.fault, place.enforced.cgroups) == ("", [1, 2])


def test_what_the_kernel_refused_is_tried_again(place: Place) -> None:
    """Also where it was what is in force, at the look at which other files exceeded a bound."""
    place.enforce()
    place.enforced.fails["other"] = PolicyError("too many")
    place.enforced.fails["web"] = OSError(12, "Cannot allocate memory")
    place.web.write_text(OTHER)
    place.look()
    (place.cgroup / "late.service").mkdir()
    for _ in range(2):
        place.look()
        assert "Cannot allocate memory" in place.policies.fault
    del place.enforced.fails["web"]
    place.look()
    assert place.enforced.cgroups == [1, 2]
    assert (place.policies.problem, place.policies.fault) == ("too many", "")


@pytest.mark.parametrize("fault", [PolicyError("no room"), OSError(12, "Cannot allocate memory")])
def test_who_comes_while_files_are_written(place: Place, fault: Exception) -> None:
    """That what is in force does not follow is told as at any other look, and tried again after it."""
    place.enforce()
    place.enforced.fails["web"] = fault
    (place.cgroup / "late.service").mkdir()
    with Directory(place.directory).locked():
        place.look()
        assert str(fault) in place.policies.fault
    place.enforced.fails.clear()
    place.look()
    assert (place.policies.fault, place.enforced.cgroups) == ("", [1, 2])


def test_a_host_that_cannot_be_looked_at(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was there stays known; it is told, and tried again at the next look."""
    place.enforce()
    host = place.policies.host

    def fails() -> None:
        raise OSError(23, "Too many open files in system")

    with monkeypatch.context() as patch:
        patch.setattr(place.policies._residents._tree, "walk", fails)
        (place.cgroup / "late.service").mkdir()
        place.look()
        assert "Too many open files" in place.policies.problem
        assert "Too many open files" in place.policies.fault
        assert place.policies.host == host
    place.look()
    assert (place.policies.problem, place.policies.fault) == ("", "")
    assert place.enforced.cgroups == [1, 2]

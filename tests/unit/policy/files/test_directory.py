"""A directory of policies that is written to."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from axon.errors import PolicyError
from axon.policy import load_policies, parse_policies
from axon.policy.files.directory import Directory, busy
from axon.policy.files.split import split_policies
from tests.unit.policy.files.test_read import ISSUE

WEB = """\
# who may see the shop
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {name: web}   # the shop
spec:
  podSelector: {matchLabels: {app: web}}
"""
OTHER = WEB.replace("name: web", "name: other").replace("the shop", "others")


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """An empty directory."""
    path = tmp_path / "policies"
    path.mkdir()
    return Directory(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of two policies with comments."""
    path = tmp_path / "two.yaml"
    path.write_text(f"{WEB}---\n{OTHER}# the end\n")
    return path


def names(directory: Directory) -> list[str]:
    """Return the names of all files of a directory."""
    return sorted(one.name for one in directory.path.iterdir())


def test_each_policy_has_a_file_and_its_comments(directory: Directory, file: Path) -> None:
    """A file of several policies is cut at its documents; a file of one is kept to the byte."""
    changes = directory.to_apply([file])
    assert [one.what for one in changes] == ["created", "created"]
    assert names(directory) == []
    directory.write(changes)
    assert names(directory) == ["default_other.yaml", "default_web.yaml"]
    assert (directory.path / "default_web.yaml").read_text() == WEB
    assert (directory.path / "default_other.yaml").read_text() == f"{OTHER}# the end\n"
    assert directory.policies() == sorted(load_policies([file]), key=lambda p: p.name)
    assert [one.what for one in directory.to_apply([file])] == ["unchanged", "unchanged"]


@pytest.mark.parametrize(
    "text",
    [
        f"# head\n---\n{WEB}---\n{OTHER}",
        f"---\n# one\n---\n{WEB}...\n---\n{OTHER}---\n# nothing\n",
        f"{WEB}--- # next\n{OTHER}",
        f"{WEB}--- {{apiVersion: axon.dev/v1alpha1, kind: L7NetworkPolicy, metadata: {{name: c}}, "
        "spec: {podSelector: {}}}\n",
        f"{WEB}---\r\n{OTHER}".replace("\n", "\r\n").replace("\r\r", "\r"),
    ],
)
def test_documents_are_told_apart(text: str) -> None:
    """However documents begin and end, each policy's text says that policy and no other."""
    whole = parse_policies(text, "f")
    parts = split_policies(text, "f")
    assert [policy for policy, _ in parts] == whole
    for policy, part in parts:
        assert parse_policies(part, "f") == [policy]
    assert "# who may see the shop" in parts[0][1]


def test_what_cannot_be_cut_is_refused() -> None:
    """A directive in front of a second document leaves no text that could stand alone."""
    with pytest.raises(PolicyError, match="write each into a file of its own"):
        split_policies(f"{WEB}...\n%YAML 1.1\n---\n{OTHER}", "f")


def test_replacing_and_deleting(directory: Directory, file: Path) -> None:
    """A policy that apply wrote is replaced by apply, and removed by delete."""
    directory.write(directory.to_apply([file]))
    file.write_text(WEB.replace("app: web", "app: shop"))
    changes = directory.to_apply([file])
    assert [one.what for one in changes] == ["changed"]
    assert len(directory.after(changes)) == 2
    directory.write(changes)
    assert "app: shop" in (directory.path / "default_web.yaml").read_text()
    directory.undo(changes)
    assert (directory.path / "default_web.yaml").read_text() == WEB
    gone = directory.to_delete("web", "default")
    assert gone.what == "deleted"
    directory.write([gone])
    assert names(directory) == ["default_other.yaml"]
    directory.undo([gone])
    assert (directory.path / "default_web.yaml").read_text() == WEB


def test_a_policy_of_another_file_is_not_replaced(directory: Directory, file: Path) -> None:
    """It is said where it stands; a file of the user's is never overwritten or removed."""
    mine = directory.path / "mine.yaml"
    mine.write_text(f"# mine\n{WEB}")
    with pytest.raises(PolicyError, match=r"default/web is in .*mine.yaml:3:1 already"):
        directory.to_apply([file])
    with pytest.raises(PolicyError, match=r"needs no apply"):
        directory.to_apply([mine])
    with pytest.raises(PolicyError, match=r"apply did not write: remove that file"):
        directory.to_delete("web", "default")
    mine.write_text(f"{WEB}---\n{OTHER}")
    with pytest.raises(PolicyError, match=r"together with default/other: remove it from that"):
        directory.to_delete("web", "default")
    with pytest.raises(PolicyError, match=r"There is no policy prod/web"):
        directory.to_delete("web", "prod")
    assert names(directory) == ["mine.yaml"]


def test_another_policy_in_its_file_is_not_lost(directory: Directory, file: Path) -> None:
    """The file that a policy would be written into may have been made for others by hand."""
    (directory.path / "default_web.yaml").write_text(ISSUE)
    with pytest.raises(PolicyError, match=r"backend-api-policy stands in .* move it"):
        directory.to_apply([file])


def test_a_broken_directory_is_not_added_to(directory: Directory, file: Path) -> None:
    """What is wrong in the directory is said, by its file."""
    (directory.path / "x.yaml").write_text("a: b\n")
    with pytest.raises(PolicyError, match=r"x.yaml:1:1"):
        directory.to_apply([file])


def test_all_or_nothing(directory: Directory, file: Path) -> None:
    """When one file cannot be written the others are as before."""
    (directory.path / "default_web.yaml").write_text(WEB.replace("app: web", "app: old"))
    changes = directory.to_apply([file])
    (directory.path / "default_other.yaml").mkdir()
    with pytest.raises(PolicyError, match=r"Nothing was changed"):
        directory.write(changes)
    assert "app: old" in (directory.path / "default_web.yaml").read_text()
    assert names(directory) == ["default_other.yaml", "default_web.yaml"]


def test_a_directory_is_busy_while_it_is_written_to(directory: Directory) -> None:
    """Whoever reads can tell, and a second writer waits."""
    assert not busy(directory.path)
    with directory.locked():
        assert busy(directory.path)
        waiting = threading.Thread(target=lambda: directory.locked().__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not busy(directory.path / "absent")


def test_who_may_only_read_locks_nothing(directory: Directory) -> None:
    """Anybody may lock a directory that they can open; what counts is a file that only its owner can."""
    reader = os.open(directory.path, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_EX)
    assert not busy(directory.path)
    with directory.locked():
        assert busy(directory.path)
    os.close(reader)
    (lock,) = directory.path.iterdir()
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert directory.policies() == []


def test_what_cannot_be_restored_is_named(
    directory: Directory, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said to be unchanged where a file is not."""
    directory.write(directory.to_apply([file]))
    file.write_text(
        f"{WEB.replace('app: web', 'app: a')}---\n{OTHER.replace('app: web', 'app: b')}"
    )
    changes = directory.to_apply([file])
    rename = Path.rename

    def once(draft: Path, target: Path) -> Path:
        if target.name != "default_web.yaml" or draft.read_text() == WEB:
            raise OSError(5, "Input/output error", str(draft))
        return rename(draft, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(PolicyError) as caught:
        directory.write(changes)
    assert f"to be mended by hand: {directory.path}/default_web.yaml." in str(caught.value)
    assert "Nothing was changed" not in str(caught.value)


def test_a_link_in_its_place_is_not_followed(
    directory: Directory, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write to the directory has nobody else's file written to, whatever name they foresee."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    foreseen = directory.path / f".default_web.{os.getpid()}"
    for link in (foreseen, directory.path / f".default_web.{'a' * 16}.draft"):
        link.symlink_to(mine)
    changes = directory.to_apply([file])
    monkeypatch.setattr("os.urandom", lambda size: b"\xaa" * size)
    with pytest.raises(FileExistsError):
        directory._write([(one.file, one.after) for one in changes])
    monkeypatch.undo()
    directory.write(changes)
    assert mine.read_text() == "mine"
    foreseen.unlink()
    assert names(directory) == ["default_other.yaml", "default_web.yaml"]


def test_what_a_killed_writer_has_left_is_removed(directory: Directory) -> None:
    """The next one does it, before it writes."""
    left = directory.path / ".default_web.0123456789abcdef.draft"
    mine = directory.path / ".web.draft"
    for one in (left, mine):
        one.write_text(WEB)
    with directory.locked():
        assert (left.exists(), mine.exists()) == (False, True)


def test_a_disk_without_room(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being root would not help: it is said to make room."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(PolicyError, match=r"No space left on device\. Make room"):
        directory.locked().__enter__()


def test_it_does_not_wait_for_ever(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that does not end is told of."""
    monkeypatch.setattr("axon.policy.files.directory._PATIENCE", 0.1)
    with (
        directory.locked(),
        pytest.raises(PolicyError, match="Somebody else has been writing"),
        directory.locked(),
    ):
        os.abort()


def test_it_says_what_cannot_be_opened(tmp_path: Path) -> None:
    """A directory that is not there is said to be so."""
    with (
        pytest.raises(PolicyError, match="Cannot open the directory"),
        Directory(tmp_path / "absent").locked(),
    ):
        os.abort()


def test_a_pipe_in_the_place_of_the_lock(tmp_path: Path) -> None:
    """Neither who looks nor who writes is kept waiting by it."""
    os.mkfifo(tmp_path / ".lock")
    assert not busy(tmp_path)
    with (
        pytest.raises(PolicyError, match=r"Cannot write .*\.lock"),
        Directory(tmp_path).locked(),
    ):
        pytest.fail("it is no lock")

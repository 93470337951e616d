"""Files that somebody writes to while they are looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from axon.errors import PolicyError
from axon.policy import Library
from axon.policy.files.contents import Contents
from tests.unit.policy.files.test_directory import OTHER, WEB

APART = 0.5


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have time stand still."""
    made = Clock()
    monkeypatch.setattr("axon.policy.files.contents.time.monotonic", made)
    return made


class Watched:
    """A directory, and the library that looks at it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.web, self.other = path / "web.yaml", path / "other.yaml"
        self._library = Library()
        self._clock = clock

    def look(self, after: float = 1.0) -> list[str] | None:
        """Look some time later; return the names of policies, None while they are not known."""
        self._clock.now += after
        found = self._library.look([self.path], APART)
        return None if found is None else sorted(policy.name for policy in found)

    def refused(self) -> str:
        """Look; return what is said."""
        with pytest.raises(PolicyError) as caught:
            self.look()
        return str(caught.value)


@pytest.fixture
def watched(tmp_path: Path, clock: Clock) -> Watched:
    """A directory with two policies that are taken up."""
    made = Watched(tmp_path, clock)
    made.web.write_text(WEB)
    made.other.write_text(OTHER)
    assert [made.look(), made.look(), made.look()] == [None, ["other", "web"], ["other", "web"]]
    return made


def test_a_file_that_is_truncated_and_written(watched: Watched) -> None:
    """Neither empty nor cut is it taken up, only as it is when it stands still."""
    watched.web.write_text("")
    assert watched.look() is None
    watched.web.write_text(WEB[: WEB.index("kind")])
    assert watched.look() is None
    watched.web.write_text(WEB.replace("name: web", "name: new"))
    assert [watched.look(), watched.look()] == [None, ["new", "other"]]


@pytest.mark.parametrize("text", ["", "# to be written\n", "---\n---\n"])
def test_a_file_that_stays_empty(watched: Watched, text: str) -> None:
    """It is refused: a full disk leaves one behind; a policy ends with its file."""
    watched.web.write_text(text)
    assert watched.look() is None
    assert f"{watched.web}: there is no policy in it: remove the file" in watched.refused()
    watched.web.unlink()
    assert [watched.look(), watched.look()] == [None, ["other"]]


def test_a_file_that_is_removed_and_made_again(watched: Watched) -> None:
    """A policy does not end while its file is replaced; it does when its file is gone for longer."""
    watched.web.unlink()
    assert watched.look() is None
    watched.web.write_text(WEB)
    assert watched.look() == ["other", "web"]
    watched.web.unlink()
    assert [watched.look(), watched.look()] == [None, ["other"]]


def test_a_policy_that_moves_to_another_file(watched: Watched) -> None:
    """Between a name that has gone and one that comes nothing is taken up."""
    watched.web.unlink()
    assert watched.look() is None
    (watched.path / "shop.yaml").write_text(WEB)
    assert [watched.look(), watched.look()] == [None, ["other", "web"]]


def test_what_is_wrong_is_said_when_it_stays(watched: Watched) -> None:
    """A cut file that nobody completes is refused, and again at every look until it is mended."""
    watched.web.write_text("kind: Pod\n")
    assert watched.look() is None
    assert f"{watched.web}:1:1" in watched.refused()
    assert f"{watched.web}:1:1" in watched.refused()
    watched.other.unlink()
    watched.other.symlink_to("absent")
    assert watched.look() is None
    said = watched.refused()
    assert f"{watched.web}:1:1" in said
    assert f"{watched.other}: it is a link to what cannot be read" in said
    watched.web.write_text(WEB)
    watched.other.unlink()
    assert [watched.look(), watched.look()] == [None, ["web"]]


def test_the_same_contents_at_other_times(watched: Watched) -> None:
    """Files that say what is taken are no change, however often they are written."""
    for _ in range(3):
        watched.web.unlink()
        watched.web.write_text(WEB)
        assert watched.look() == ["other", "web"]


def test_times_that_are_set_back(watched: Watched) -> None:
    """Contents of the same size and time are seen to be others, as `cp -p` and rsync write them."""
    before = watched.web.stat()
    watched.web.write_text(WEB.replace("name: web", "name: new"))
    os.utime(watched.web, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [watched.look(), watched.look()] == [None, ["new", "other"]]


def test_contents_count_where_times_do_not(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readings of a clock that stands still are not taken for one of the same contents."""
    monkeypatch.setattr("axon.policy.files.contents._state", lambda file: (len(file.name),))
    watched.web.rename(watched.path / "web1.yaml")
    made = watched.path / "web1.yaml"
    assert watched.look() is None
    made.write_text(WEB.replace("app: web", "app: abc"))
    assert watched.look() is None
    assert watched.look() == ["other", "web"]


def test_two_looks_at_once_are_one(watched: Watched) -> None:
    """A look right behind another says nothing of standing still."""
    watched.web.unlink()
    assert [watched.look(), watched.look(0.1), watched.look(0.1)] == [None, None, None]
    assert watched.look(0.4) == ["other"]


def test_an_empty_directory_at_first(tmp_path: Path, clock: Clock) -> None:
    """Before anything has been taken up, that there is nothing has to be seen twice as well."""
    made = Watched(tmp_path, clock)
    assert made.look() is None
    made.web.write_text(WEB)
    assert [made.look(), made.look()] == [None, ["web"]]


def test_what_is_read_is_what_was_seen(tmp_path: Path, clock: Clock) -> None:
    """What is parsed are the bytes that were compared: a file is not read once more for it."""
    file = tmp_path / "a"
    file.write_text("whole")
    contents = Contents(lambda text, _: text)
    assert not contents.look({file: ""}, APART)
    clock.now += 1
    assert contents.look({file: ""}, APART)
    file.write_text("")
    assert not contents.look({file: ""}, APART)
    assert contents.values == ["whole"]
    clock.now += 1
    assert contents.look({file: ""}, APART)
    assert contents.values == [""]


def test_at_once(tmp_path: Path) -> None:
    """A command that was given files takes them as they are."""
    file = tmp_path / "a"
    file.write_text("whole")
    contents = Contents(lambda text, _: text)
    assert contents.look({file: ""})
    assert contents.values == ["whole"]


def test_only_regular_files(tmp_path: Path) -> None:
    """Who looks once a second is not kept waiting: neither by a pipe, nor by what has no end."""
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        contents = Contents(lambda text, _: text, regular=True)
        assert contents.look({file: ""})
        assert contents.wrong == [
            f"{file} is not a regular file: name a regular file of up to 16 MiB."
        ]
        with pytest.raises(PolicyError, match="is not a regular file"):
            Library(regular=True).look([file], 0)
    too_large = tmp_path / "large"
    with too_large.open("wb") as stream:
        stream.truncate((16 << 20) + 1)
    contents = Contents(lambda text, _: text, regular=True)
    contents.look({too_large: ""})
    assert "is larger than 16 MiB" in contents.wrong[0]


def test_a_file_that_may_be_read_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the disk is forgotten when it is over, though no time of the file has changed."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    watched.web.write_text(WEB.replace("app: web", "app: shop"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        assert watched.look() is None
        assert "Input/output error" in watched.refused()
    assert [watched.look(), watched.look()] == [None, ["other", "web"]]

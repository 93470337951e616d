"""`axon config`."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from axon import settings
from axon.cli import main

README = Path(__file__).resolve().parents[3] / "README.md"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the machine's own settings out, and return a settings file that is read."""
    for setting in settings.table().values():
        monkeypatch.delenv(setting.env, raising=False)
    path = tmp_path / "axon.toml"
    path.write_text("max_series = 500\nkeep = true\n")
    return path


def test_every_setting_with_its_source(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each setting stands in a line with its value and where it came from; flags win."""
    monkeypatch.setenv("AXON_KEEP", "false")
    assert main(["config", "--config", str(elsewhere), "--slow-ms", "250"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    said = {name: (value, source) for name, value, source in lines if name != "max_memory"}
    assert said["max_series"] == ("500", f"max_series in {elsewhere}")
    assert said["keep"] == ("false", "AXON_KEEP")
    assert said["slow_ms"] == ("250", "--slow-ms")
    assert said["log_level"] == ("info", "default")
    assert len(lines) == len(settings.table())


def test_a_path_as_the_readme_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What README.md tells to type is taken, from the directory where it is typed."""
    (line,) = re.findall(
        r"^axon run (--policy \S+)", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    monkeypatch.chdir(tmp_path)
    assert main(["config", *line.split(), "--routes", "routes.txt"]) == 0
    said = {row.split()[0]: row.split()[1:] for row in capsys.readouterr().out.splitlines()}
    assert said["policy"] == [str(tmp_path / "policies"), "--policy"]
    assert said["routes"] == [str(tmp_path / "routes.txt"), "--routes"]


def test_as_json(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the same as a list."""
    assert main(["config", "--config", str(elsewhere), "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(settings.table())


def test_a_sample_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The sample file is one that can be read, and changes nothing."""
    assert main(["config", "--sample"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == {}


def test_a_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """A value out of bounds is refused with the flag that gave it."""
    assert main(["config", "--max-series", "1"]) == 1
    assert capsys.readouterr().err.startswith("axon: --max-series must be from 64")

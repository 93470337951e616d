"""The systemd unit fits the settings that it relies on."""

from __future__ import annotations

import shlex
from pathlib import Path

from axon.cli.parser import for_all
from axon.settings import Settings, load, table

UNIT = Path(__file__).parents[2] / "deploy/systemd/axon.service"


def lines() -> dict[str, list[str]]:
    """Return the unit's assignments by name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_its_environment_is_settings() -> None:
    """Every variable of the unit is a setting; programs are kept over a restart."""
    environment = dict(word.split("=", 1) for word in lines()["Environment"])
    assert environment.keys() <= {setting.env for setting in table().values()}
    assert load(environ=environment).keep


def test_its_command_is_a_command() -> None:
    """What it starts is a verb with options that exist."""
    program, *arguments = shlex.split(lines()["ExecStart"][0])
    assert Path(program).name == "axon"
    for_all().parse_args(arguments)


def test_it_can_write_where_the_agent_does() -> None:
    """The default directories are inside of what the sandbox leaves writable."""
    unit, settings = lines(), Settings()
    assert settings.run_dir == Path("/run") / unit["RuntimeDirectory"][0]
    assert unit["RuntimeDirectoryMode"] == ["0750"]
    assert unit["RuntimeDirectoryPreserve"] == ["yes"]
    assert settings.pin_dir.is_relative_to(unit["ReadWritePaths"][0])

"""Settings: sources, precedence, bounds, and messages that name the source and the remedy."""

from __future__ import annotations

import argparse
import os
import tomllib
from pathlib import Path

import pytest

from axon.errors import SettingsError
from axon.settings import (
    Listen,
    Settings,
    Size,
    add_flags,
    effective,
    flags_of,
    load,
    markdown,
    sample_file,
    table,
)


def from_file(tmp_path: Path, content: str | bytes) -> Settings:
    """Load `content` as the settings file, with nothing else set."""
    path = tmp_path / "axon.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(file=path, environ={})


def test_defaults_need_nothing() -> None:
    """Without a file, variables or flags every setting has its documented default."""
    settings = load(environ={})
    assert settings == Settings()
    assert settings.metrics_listen == Listen("127.0.0.1", 9464)
    assert settings.socket == Path("/run/axon/axon.sock")
    assert {row.source for row in effective(settings)} == {"default"}


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    """The nearer source wins, and the effective table says which one it was."""
    path = tmp_path / "axon.toml"
    path.write_text("max_series = 100\nmax_peers = 5\nslow_ms = 20\n")
    settings = load(
        file=path,
        environ={"AXON_MAX_SERIES": "200", "AXON_MAX_PEERS": "6"},
        flags={"max_series": "300", "slow_ms": None},
    )
    assert (settings.max_series, settings.max_peers, settings.slow_ms) == (300, 6, 20.0)
    sources = {row.name: row.source for row in effective(settings)}
    assert sources["max_series"] == "--max-series"
    assert sources["max_peers"] == "AXON_MAX_PEERS"
    assert sources["slow_ms"] == f"slow_ms in {path}"


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    """AXON_CONFIG is used where no --config is given."""
    path = tmp_path / "other.toml"
    path.write_text("keep = true\n")
    assert load(environ={"AXON_CONFIG": str(path)}).keep is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("max_serie = 5", "did you mean max_series?"),
        ("zzz = 5", "axon config lists them all"),
        ("max_series = 5", "must be from 64 to 1000000, not 5"),
        ('max_series = "many"', "must be a whole number, not 'many'"),
        ("max_series = true", "must be a whole number"),
        ("max_series = 99999999999999999999999", "must be from 64"),
        ("slow_ms = nan", "must be a number"),
        ('slow_ms = "1e999"', "must be a number"),
        ("keep = 1", "must be true or false"),
        ('keep = "perhaps"', "must be true or false"),
        ('pin_dir = "relative"', "must be an absolute path"),
        ('pin_dir = "/a\\u0000b"', "control characters"),
        ('pin_dir = "/' + "a" * 5000 + '"', "longer than 4096"),
        ('metrics_listen = "example.org:1"', "with an IP address"),
        ('metrics_listen = "127.0.0.1"', "with an IP address"),
        ('metrics_listen = "127.0.0.1:99999"', "port from 0 to 65535"),
        ('metrics_listen = ":9464"', "0.0.0.0:9464 for every interface"),
        ('max_memory = "64 parsecs"', "must be a size"),
        ('max_memory = "1k"', "must be from 1 MiB to 64 GiB"),
        ('peers = "some"', "must be one of none, private, all"),
        ("roles = []", "must be one or more of server, client"),
        ('roles = ["servant"]', "must be one of server, client"),
        ("[table]\nx = 1", "there is no such setting"),
        ("max_series =", "is not valid TOML"),
        ("routes = " + "[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"#" * (2 << 20), "larger than 1 MiB"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    """Every bad value is an error that names the file and says what would do."""
    with pytest.raises(SettingsError) as caught:
        from_file(tmp_path, content)
    assert message in str(caught.value)
    assert str(tmp_path / "axon.toml") in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A named file that is absent, a directory or a pipe is an error, and none of them hangs."""
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("absent", "there is no such file"),
        (".", "not a regular file"),
        ("pipe", "not a regular file"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=message):
            load(file=tmp_path / name, environ={})


def test_a_path_in_a_flag_is_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every path that a flag gives may be relative, and off stays off; an empty one is none."""
    monkeypatch.chdir(tmp_path)
    paths = [name for name, row in table().items() if row.kind.metavar == "PATH"]
    assert {"routes", "policy", "policy_labels", "pin_dir", "run_dir", "cgroup"} == set(paths)
    settings = load(environ={}, flags=dict.fromkeys(paths, "some/where/"))
    assert {getattr(settings, name) for name in paths} == {tmp_path / "some/where"}
    assert load(environ={}, flags={"routes": "/etc/routes"}).routes == Path("/etc/routes")
    assert load(environ={}, flags={"routes": "off", "policy": ""}) == Settings()
    with pytest.raises(SettingsError, match="--run-dir must be an absolute path, not ''"):
        load(environ={}, flags={"run_dir": ""})


def test_a_path_elsewhere_is_absolute() -> None:
    """The environment and the file are read wherever the agent happens to be started."""
    with pytest.raises(SettingsError, match="AXON_ROUTES must be an absolute path, not 'a'"):
        load(environ={"AXON_ROUTES": "a"})


def test_a_path_from_a_directory_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing that it could be relative to, which is said."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SettingsError, match="--routes is relative to a directory that is gone"):
        load(environ={}, flags={"routes": "a"})


def test_a_misspelt_variable_is_refused_and_a_foreign_one_is_not() -> None:
    """AXON_MAX_SERIE is an error; what Kubernetes sets for a Service called axon is nothing."""
    with pytest.raises(SettingsError, match=r"AXON_MAX_SERIE: .*AXON_MAX_SERIES\?"):
        load(environ={"AXON_MAX_SERIE": "100"})
    load(
        environ={
            "AXON_SERVICE_HOST": "10.0.0.1",
            "AXON_PORT": "tcp://10.0.0.1:80",
            "AXON_PORT_80_TCP_ADDR": "10.0.0.1",
        }
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("127.0.0.1:9464", Listen("127.0.0.1", 9464)),
        ("[::1]:80", Listen("::1", 80)),
        ("localhost:0", Listen("127.0.0.1", 0)),
        ("off", None),
        ("", None),
    ],
)
def test_listen_addresses(text: str, value: Listen | None) -> None:
    """Both families are read, and what is shown can be read again."""
    read = table()["metrics_listen"].kind.read
    assert read(text) == value
    assert read("off" if value is None else str(value)) == value


def test_sizes_read_back() -> None:
    """A size is bytes, or a number with a binary unit."""
    read = table()["max_memory"].kind.read
    for text, value in (("64MiB", 64 << 20), ("1.5 g", 3 << 29), ("4096", 4096), (7, 7)):
        assert read(text) == value
        assert read(str(Size(value))) == value


def test_flags_read_what_the_table_says() -> None:
    """Every setting is a flag with its help text and default."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    arguments = parser.parse_args(["--roles", "client,server", "--no-learn-routes", "--keep"])
    settings = load(environ={}, flags=flags_of(arguments))
    assert settings.roles == ("server", "client")
    assert (settings.learn_routes, settings.keep) == (False, True)
    shown = " ".join(parser.format_help().split())
    for setting in table().values():
        assert setting.flag in shown


def test_the_sample_file_is_the_defaults(tmp_path: Path) -> None:
    """Uncommented, the sample file says what would hold without it."""
    lines = sample_file().splitlines()
    values = [line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")]
    assert set(tomllib.loads("\n".join(values))) == set(table())
    assert from_file(tmp_path, "\n".join(values)) == Settings()


def test_every_setting_is_documented() -> None:
    """The documentation's table has a row for each setting."""
    text = markdown()
    for name, setting in table().items():
        assert f"| `{name}` `{setting.flag}` `{setting.env}` |" in text
        assert setting.help.endswith(".")

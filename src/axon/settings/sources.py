"""Where settings come from: built-in defaults, then the file, the environment and the flags."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from axon.errors import SettingsError
from axon.files import UnfitError, read_regular
from axon.settings.present import bounds_of
from axon.settings.table import Setting, Settings, table

DEFAULT_FILE = Path("/etc/axon/axon.toml")
FILE_VARIABLE = "AXON_CONFIG"
_PREFIX = "AXON_"


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Return the effective settings; `origins` of the result says where each came from.

    `file` defaults to AXON_CONFIG or to /etc/axon/axon.toml, which may be absent unless it was
    named. `flags` maps a setting's name to its raw text or value; None means not given. A path among
    them may be relative to the current directory.
    Raises SettingsError, naming the source and the remedy, for anything that cannot be used.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    named = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    path = named or DEFAULT_FILE

    def take(name: str, raw: object, source: str) -> None:
        values[name] = _check(table()[name], raw, source)
        origins[name] = source

    for key, raw in _read_file(path, required=named is not None).items():
        if key not in table():
            raise SettingsError(f"{path}: {key}: there is no such setting{_suggest(key, table())}")
        take(key, raw, f"{key} in {path}")
    for name in _from_environment(environ):
        variable = table()[name].env
        take(name, environ[variable], variable)
    for name, raw in (flags or {}).items():
        if raw is not None:
            take(name, _from_here(table()[name], raw), table()[name].flag)
    return Settings(**values, origins=origins)


def _from_here(setting: Setting, raw: object) -> object:
    """Return what a flag gave; a relative path is one from the current directory.

    Files and the environment are read wherever the agent happens to be started.
    """
    if not setting.kind.is_path(raw):
        return raw
    try:
        return str(Path.cwd() / str(raw))
    except FileNotFoundError:
        raise SettingsError(
            f"{setting.flag} is relative to a directory that is gone; give an absolute path"
        ) from None


def _check(setting: Setting, raw: object, source: str) -> Any:
    try:
        value = setting.kind.read(raw)
    except ValueError as error:
        raise SettingsError(f"{source} {error}, not {_quote(raw)}") from None
    low, high = setting.about.low, setting.about.high
    number = value if isinstance(value, (int, float)) else None
    if number is None or isinstance(number, bool):
        return value
    if (low is not None and number < low) or (high is not None and number > high):
        raise SettingsError(f"{source} must be from {bounds_of(setting)}, not {_quote(raw)}")
    return value


def _quote(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."


def _from_environment(environ: Mapping[str, str]) -> list[str]:
    """Return the names of settings that the environment sets.

    A variable that looks like a misspelt setting is refused. Others are not Axon's business:
    Kubernetes sets AXON_SERVICE_HOST and the like for a Service that happens to be called axon.
    """
    by_variable = {setting.env: name for name, setting in table().items()}
    found = []
    for variable in environ:
        if variable in by_variable:
            found.append(by_variable[variable])
        elif variable.startswith(_PREFIX) and variable != FILE_VARIABLE:
            hint = _suggest(variable, by_variable, cutoff=0.85)
            if hint:
                raise SettingsError(f"{variable}: there is no such setting{hint}")
    return found


def _suggest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(word[:64], list(known), n=1, cutoff=cutoff)
    if close:
        return f"; did you mean {close[0]}?"
    return "" if cutoff > 0.8 else "; axon config lists them all"


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        content = read_regular(path)
    except FileNotFoundError:
        if not required:
            return {}
        raise SettingsError(f"{path}: there is no such file; create it or name another") from None
    except UnfitError as error:
        raise SettingsError(
            f"{path} {error.strerror}; name a TOML file, which has a few lines"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{str(path)!r} cannot be read: {reason}; check its permissions"
        ) from None
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text; save it as such") from None
    except RecursionError:
        raise SettingsError(
            f"{path} is nested too deeply; settings are plain key = value"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None

"""Settings: one typed table, read from a TOML file, the environment and flags by the same names."""

from axon.settings.kinds import Listen, Size, show
from axon.settings.present import (
    Effective,
    add_flags,
    bounds_of,
    effective,
    flags_of,
    markdown,
    sample_file,
)
from axon.settings.sources import DEFAULT_FILE, FILE_VARIABLE, load
from axon.settings.table import Setting, Settings, table

__all__ = [
    "DEFAULT_FILE",
    "FILE_VARIABLE",
    "Effective",
    "Listen",
    "Setting",
    "Settings",
    "Size",
    "add_flags",
    "bounds_of",
    "effective",
    "flags_of",
    "load",
    "markdown",
    "sample_file",
    "show",
    "table",
]

"""The table of kernels (kernels.toml), and how a row becomes something that boots."""

import json
import os
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernels import image
from tests.kernels.archive import Archive
from tests.kernels.errors import KernelsError
from tests.kernels.image import Image

TABLE = Path(__file__).with_name("kernels.toml")
FRESH_SECONDS = 7 * 24 * 3600.0


def cache_directory() -> Path:
    """Where kernels are kept between runs: `AXON_KERNELS_CACHE`, or below the user's cache."""
    if given := os.environ.get("AXON_KERNELS_CACHE"):
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "axon" / "kernels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kernel of the table; see kernels.toml for the fields."""

    name: str
    reason: str
    arch: str = "amd64"
    package: str = ""
    suites: Sequence[str] = ()
    deb: Sequence[str] = ()
    image: str = ""
    modules: str = ""


def read(path: Path = TABLE) -> list[Row]:
    """The rows of a table, in its order."""
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text())
        return [Row(**entry) for entry in document["kernel"]]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise KernelsError(f"{path}: {error}; kernels.toml describes the fields") from error


def choose(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows with these names, or all of them if there are no names."""
    if unknown := set(names) - {row.name for row in rows}:
        raise KernelsError(
            f"no kernel {', '.join(sorted(unknown))} in the table;"
            f" there are {', '.join(row.name for row in rows)}"
        )
    return [row for row in rows if not names or row.name in names]


def make(row: Row, *, update: bool = False) -> Image:
    """Fetches and unpacks a row's kernel, unless a copy less than a week old is in the cache.

    Without the archives an older copy is used, and said so. `update` asks the archives anyway.
    """
    cache = cache_directory()
    if row.image:
        initramfs = cache / f"{row.name}.initramfs"
        cache.mkdir(parents=True, exist_ok=True)
        return image.prepare(
            Path(row.image).absolute(), Path(row.modules).absolute(), initramfs, row.arch
        )
    if row.deb:
        debs = [Path(deb).absolute() for deb in row.deb]
        return image.unpack(debs, cache / "trees" / debs[0].stem, row.arch)
    record = cache / f"{row.arch}-{row.name}.json"
    known = _recorded(record, row)
    age = time.time() - record.stat().st_mtime if known else FRESH_SECONDS
    if update or age >= FRESH_SECONDS:
        try:
            known = _fetch(row, cache)
            record.write_text(json.dumps({"package": row.package, "debs": [*map(str, known)]}))
        except KernelsError as error:
            if not known:
                raise
            print(f"{row.name}: using the copy in the cache, for {error}")
    return image.unpack(known, cache / "trees" / known[0].stem, row.arch)


def _recorded(record: Path, row: Row) -> list[Path]:
    if not record.exists():
        return []
    content = json.loads(record.read_text())
    debs = [Path(deb) for deb in content["debs"]]
    usable = content["package"] == row.package and all(deb.exists() for deb in debs)
    return debs if usable else []


def _fetch(row: Row, cache: Path) -> list[Path]:
    archive = Archive(cache, row.arch)
    complaints = archive.update(row.suites)
    packages = archive.find(row.package)
    if not packages:
        why = complaints or f"none of {', '.join(row.suites)} has a complete package like it"
        raise KernelsError(f"no kernel {row.name} from Debian's archives:\n{why}")
    return archive.download(packages)

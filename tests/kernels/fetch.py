"""How a row of the table becomes something that boots, and what of it is kept between runs."""

import json
import os
import shutil
import time
from pathlib import Path

from tests.kernels import image
from tests.kernels.archive import Archive
from tests.kernels.errors import KernelsError
from tests.kernels.image import Image
from tests.kernels.table import Row, Table, Userspace

FRESH_SECONDS = 7 * 24 * 3600.0


def cache_directory() -> Path:
    """Where kernels are kept between runs: `AXON_KERNELS_CACHE`, or below the user's cache."""
    if given := os.environ.get("AXON_KERNELS_CACHE"):
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "axon" / "kernels"


def make(row: Row, table: Table, *, update: bool = False) -> Image:
    """Fetches and unpacks a row's kernel, unless a copy less than a week old is in the cache.

    Without the archives an older copy is used, and said so. `update` asks the archives anyway.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    root = Path("/")
    if row.userspace:
        root = _userspace(row.userspace, table.userspaces[row.userspace], cache)
    if row.image:
        kernel, modules = Path(row.image).absolute(), Path(row.modules).absolute()
        return image.prepare(kernel, modules, cache / f"{row.name}.initramfs", row.arch, root)
    if row.deb:
        debs = [Path(deb).absolute() for deb in row.deb]
        return image.unpack(debs, cache / "trees" / debs[0].stem, row.arch, root)
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
    return image.unpack(known, cache / "trees" / known[0].stem, row.arch, root)


def _recorded(record: Path, row: Row) -> list[Path]:
    if not record.exists():
        return []
    content = json.loads(record.read_text())
    debs = [Path(deb) for deb in content["debs"]]
    usable = content["package"] == row.package and all(deb.exists() for deb in debs)
    return debs if usable else []


def _fetch(row: Row, cache: Path) -> list[Path]:
    archive = Archive(cache / f"apt-{row.arch}", row.arch)
    complaints = archive.update(row.suites)
    packages = archive.find(row.package)
    if not packages:
        why = complaints or f"none of {', '.join(row.suites)} has a complete package like it"
        raise KernelsError(f"no kernel {row.name} from Debian's archives:\n{why}")
    return archive.download(packages)


def _userspace(name: str, wanted: Userspace, cache: Path) -> Path:
    """A tree with a user space of another architecture, made anew when what it holds changes."""
    tree = cache / f"userspace-{name}"
    contents = cache / f"userspace-{name}.json"
    recipe = json.dumps([wanted.arch, *wanted.suites, *wanted.packages])
    if contents.exists() and contents.read_text() == recipe:
        return tree
    contents.unlink(missing_ok=True)
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    archive = Archive(cache / f"apt-userspace-{name}", wanted.arch)
    complaints = archive.update(wanted.suites)
    try:
        archive.install(wanted.packages, tree)
    except KernelsError as error:
        raise KernelsError(f"no user space {name}: {error}\n{complaints}") from error
    contents.write_text(recipe)
    return tree

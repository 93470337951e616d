"""Fetches kernel packages from Debian's archives, with apt's own means.

An apt root of its own (lists, cache, sources) keeps the machine's package state untouched; the
machine's transport settings (proxies, certificates) still hold, and so does apt's verification: the
sources name Debian's archive keyring, and nothing unsigned is accepted.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from functools import cmp_to_key
from pathlib import Path

from tests.kernels.errors import KernelsError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "AXON_DEBIAN_MIRROR"


def _machine_mirrors() -> dict[str, str]:
    """The machine's mirrors of Debian's two archives: {"debian": URI, "debian-security": URI}.

    `AXON_DEBIAN_MIRROR` overrides it for machines whose apt knows no Debian archive (Ubuntu); the
    security archive is then expected beside it, as on every full mirror.
    """
    if override := os.environ.get(MIRROR_VARIABLE):
        base = override.rstrip("/")
        return {"debian": base, "debian-security": f"{base}-security"}
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        check=False,
        capture_output=True,
        text=True,
    )
    mirrors: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        uri = line.rstrip("/")
        mirrors.setdefault(uri.rpartition("/")[2], uri)
    found = {name: uri for name, uri in mirrors.items() if name in {"debian", "debian-security"}}
    if "debian" not in found:
        raise KernelsError(
            "this machine's apt knows no Debian archive to fetch kernels from;"
            f" name a mirror that ends in /debian: export {MIRROR_VARIABLE}=URI"
        )
    found.setdefault("debian-security", f"{found['debian']}-security")
    return found


def _newer_first(versions: Iterable[str]) -> list[str]:
    """Package versions or names by dpkg's own order, the newest first."""

    def compare(left: str, right: str) -> int:
        if left == right:
            return 0
        newer = subprocess.run(["dpkg", "--compare-versions", left, "gt", right], check=False)
        return -1 if newer.returncode == 0 else 1

    return sorted(versions, key=cmp_to_key(compare))


class Archive:
    """Debian's archives for one architecture, seen through an apt root of its own in `root`."""

    def __init__(self, root: Path, arch: str) -> None:
        self._root = root
        self._arch = arch

    def _apt(
        self, tool: str, *arguments: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        root = self._root
        options = {
            "Dir::Etc::sourcelist": f"{root}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": f"{root}/state",
            "Dir::State::lists": f"{root}/lists",
            "Dir::State::status": f"{root}/status",
            "Dir::Cache": f"{root}/cache",
            "APT::Architecture": self._arch,
            "APT::Architectures": self._arch,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        settings = [text for key, value in options.items() for text in ("-o", f"{key}={value}")]
        try:
            return subprocess.run(
                [tool, *settings, *arguments],
                check=False,
                capture_output=True,
                text=True,
                cwd=cwd,
            )
        except FileNotFoundError as error:
            raise KernelsError(
                f"{tool} is needed to fetch kernels from Debian's archives"
            ) from error

    def update(self, suites: Sequence[str]) -> str:
        """Reads the archives' lists of packages; returns apt's complaints, empty if none."""
        if not KEYRING.exists():
            raise KernelsError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
        mirrors = _machine_mirrors()
        for part in ("lists/partial", "state", "cache/archives/partial"):
            (self._root / part).mkdir(parents=True, exist_ok=True)
        (self._root / "status").touch()
        lines = [
            f"deb [arch={self._arch} signed-by={KEYRING}]"
            f" {mirrors['debian-security' if suite.endswith('-security') else 'debian']} {suite} main\n"
            for suite in suites
        ]
        (self._root / "sources.list").write_text("".join(lines))
        done = self._apt("apt-get", "update", "-q")
        complaints = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        return "\n".join(complaints)

    def find(self, pattern: str) -> list[str]:
        """The packages of the newest kernel whose image package is named like `pattern`.

        Newer kernels are split into image, binary and modules packages, and a superseded one may
        linger with only some of them; the newest complete one is taken. Empty if there is none.
        """
        names = self._apt("apt-cache", "pkgnames", "linux-").stdout.split()
        known = set(names)
        wanted = re.compile(pattern)
        releases = [name.removeprefix("linux-image-") for name in names if wanted.fullmatch(name)]
        for release in _newer_first(releases):
            image = f"linux-image-{release}"
            depends = self._apt("apt-cache", "depends", "--important", image).stdout
            parts = {
                name: name in known
                for name in re.findall(
                    rf"linux-(?:base|binary|modules)-{re.escape(release)}", depends
                )
            }
            # linux-base holds no more than lists of what is built in
            if all(there for name, there in parts.items() if not name.startswith("linux-base-")):
                return [image, *sorted(name for name, there in parts.items() if there)]
        return []

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Fetches packages, signatures verified; returns the files."""
        target = self._root / "debs"
        target.mkdir(exist_ok=True)
        files = []
        for package in packages:
            printed = self._apt("apt-get", "download", "--print-uris", package).stdout
            match = re.match(r"'[^']+' (\S+) \d+", printed)
            if match is None:
                raise KernelsError(f"apt does not know where to fetch {package} from")
            file = target / match[1]
            if not file.exists():
                done = self._apt("apt-get", "download", "-q", package, cwd=target)
                if done.returncode != 0:
                    raise KernelsError(f"apt could not fetch {package}:\n{done.stderr.strip()}")
            files.append(file)
        return files

    def install(self, packages: Sequence[str], tree: Path) -> None:
        """Unpacks packages, with everything they depend on, into an empty tree."""
        self._apt("apt-get", "clean")
        done = self._apt("apt-get", "install", "-y", "--no-install-recommends", "-d", *packages)
        if done.returncode != 0:
            raise KernelsError(f"apt could not fetch {' '.join(packages)}:\n{done.stderr.strip()}")
        for deb in sorted((self._root / "cache" / "archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)

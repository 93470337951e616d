"""The layers of ARCHITECTURE.md are those that the code keeps."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_no_layer_imports_what_stands_above_it() -> None:
    """The contracts in pyproject.toml hold: data flows one way, the agent needs no terminal."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _modules(package: Path) -> set[str]:
    """Return the modules and packages in a package."""
    found = {path.stem for path in package.iterdir() if path.suffix in {"", ".py"}}
    return found - {"__init__", "__main__", "__pycache__"}


@pytest.mark.parametrize(("package", "top"), [("axon", "cli"), ("axon.policy", "enforcer")])
def test_the_page_shows_the_layers(package: str, top: str) -> None:
    """ARCHITECTURE.md names the layers in the contract's order, and every module belongs to one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        one
        for one in settings["tool"]["importlinter"]["contracts"]
        if one.get("containers") == [package]
    )
    layers = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    (line,) = re.findall(rf"^{top} → .*$", PAGE, re.MULTILINE)
    assert [re.findall(r"\w+", layer) for layer in line.split("→")] == layers
    modules = _modules(ROOT / "src" / package.replace(".", "/"))
    assert modules == {name for layer in layers for name in layer}


def test_the_page_leads_to_every_header_of_the_kernels_side() -> None:
    """ARCHITECTURE.md names each header of bpf/."""
    headers = {path.name for path in (ROOT / "bpf").glob("*.h")}
    assert headers
    assert [name for name in sorted(headers) if f"`{name}`" not in PAGE] == []
    tables = PAGE.split("## The kernel side", 1)[1]
    named = set(re.findall(r"`(\w+\.h)`", tables))
    assert named <= headers


def test_the_page_leads_to_every_file_of_policies() -> None:
    """ARCHITECTURE.md has each file of the package with the most of them, by its folder."""
    policy = ROOT / "src" / "axon" / "policy"
    table = PAGE.split("\n| in `policy` |", 1)[1].split("\n\n", 1)[0]
    found: dict[str, set[str]] = {}
    folder = ""
    for first, files in re.findall(r"^\| *(?:`(\w+)`)? *\|[^|]*\|([^|]*)\|$", table, re.MULTILINE):
        folder = first or folder
        found.setdefault(folder, set()).update(re.findall(r"`(\w+)`", files))
    folders = _modules(policy)
    assert found == {
        name: _modules(policy / name) if (policy / name).is_dir() else set() for name in folders
    }

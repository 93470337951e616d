"""The layers of ARCHITECTURE.md are those that the code keeps."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_layer_imports_what_stands_above_it() -> None:
    """The contracts in pyproject.toml hold: data flows one way, the agent needs no terminal."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_page_shows_the_layers() -> None:
    """ARCHITECTURE.md names the layers in the contract's order, and every module belongs to one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    layers = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^cli → .*$", page, re.MULTILINE)
    assert [re.findall(r"\w+", layer) for layer in line.split("→")] == layers
    modules = {
        path.stem for path in (ROOT / "src" / "axon").iterdir() if path.suffix in {"", ".py"}
    }
    assert modules - {"__init__", "__main__", "__pycache__"} == {
        name for layer in layers for name in layer
    }


def test_the_page_leads_to_every_file_of_the_kernels_side_and_of_policies() -> None:
    """ARCHITECTURE.md names each header of bpf/ and each file of the package with the most of them."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    headers = {path.name for path in (ROOT / "bpf").glob("*.h")}
    policy = {path.stem for path in (ROOT / "src" / "axon" / "policy").glob("*.py")}
    assert headers
    assert [name for name in sorted(headers) if f"`{name}`" not in page] == []
    assert [name for name in sorted(policy - {"__init__"}) if f"`{name}`" not in page] == []
    tables = page.split("## The kernel side", 1)[1]
    named = set(re.findall(r"`(\w+\.h)`", tables))
    assert named <= headers

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

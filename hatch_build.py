"""Build hook: a wheel or an sdist always carries the compiled kernel programs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECT = Path("src/axon/kernel/axon.bpf.o")


class KernelPrograms(BuildHookInterface[Any]):
    """Compiles the programs where they are missing; an sdist carries them, so it builds with no compiler."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make sure that the object is there. Raises RuntimeError if it cannot be compiled.

        `version` is the kind of wheel: an editable install takes the object from the tree, whenever
        `make build` puts it there. `build_data` is left as it is.
        """
        del build_data
        root = Path(self.root)
        if version == "editable" or (root / OBJECT).exists():
            return
        built = subprocess.run(["make", "-C", str(root), "build"], check=False)
        if built.returncode or not (root / OBJECT).exists():
            raise RuntimeError(
                f"{OBJECT} is missing and could not be compiled: run `make setup build` first"
            )

"""What this kernel and our privileges allow: a table for `axon doctor`, the needs of the loader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from axon.errors import KernelError
from axon.kernel import probes
from axon.kernel.abi import Abi
from axon.kernel.object import BpfObject
from axon.kernel.system import capabilities, missing_capabilities

_RELEASE_PROGRAM = "ax_release"


@dataclass(frozen=True, slots=True)
class Needs:
    """What programs have to know of the kernel before they are loaded."""

    release: bool
    task: bool

    def bits(self, abi: Abi) -> int:
        """Return the value of ax_config.kernel_has."""
        names = abi.enum("ax_feature")
        return names["AX_HAS_RELEASE"] * self.release | names["AX_HAS_TASK_COMM"] * self.task


def require_privileges() -> None:
    """Raise KernelError unless we may load and attach programs."""
    missing = missing_capabilities(capabilities())
    if missing:
        raise KernelError(
            "Loading programs into the kernel needs root. Run it with sudo, or as a service "
            f"with the capabilities {', '.join(missing)}."
        )


def fit(obj: BpfObject) -> Needs:
    """Leave out the programs that this kernel cannot take; return what the others have to know."""
    needs = Needs(release=_has(probes.storage_at_release), task=_has(probes.read_task))
    if not needs.release and _RELEASE_PROGRAM in obj.programs:
        obj.leave_out(_RELEASE_PROGRAM)
    return needs


def _has(probe: Callable[[], None]) -> bool:
    try:
        probe()
    except OSError:
        return False
    return True

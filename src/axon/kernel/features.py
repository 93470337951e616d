"""What this kernel and our privileges allow, each found by trying and none by the kernel's version.

`axon doctor` prints the table; `attach` refuses to go on where a needed row is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from axon.errors import AxonError, KernelError
from axon.kernel import probes, system
from axon.kernel.abi import Abi
from axon.kernel.checks import CHECKS, TYPES, Check
from axon.kernel.object import KERNEL_BTF, BpfObject
from axon.settings import Settings

State = Literal["ok", "degraded", "missing", "untried"]

_RELEASE_PROGRAM, _ACTIVE_PROGRAM = "ax_release", "ax_active"


@dataclass(frozen=True, slots=True)
class Feature:
    """A row: what was looked at, how it stands, what was found, and what to do about it.

    What needs privileges that the row `privileges` misses is `untried`.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Features:
    """Everything that was looked at."""

    rows: tuple[Feature, ...]

    @property
    def ok(self) -> bool:
        """Whether an agent can run here: no row is missing."""
        return all(row.state != "missing" for row in self.rows)

    def __getitem__(self, name: str) -> Feature:
        return next(row for row in self.rows if row.name == name)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.rows)


@dataclass(frozen=True, slots=True)
class Needs:
    """What programs have to know of the kernel before they are loaded."""

    release: bool
    task: bool
    types: bool

    def bits(self, abi: Abi) -> int:
        """Return the value of ax_config.kernel_has."""
        names = abi.enum("ax_feature")
        return (
            names["AX_HAS_RELEASE"] * self.release
            | names["AX_HAS_TASK_COMM"] * self.task
            | names["AX_HAS_TYPES"] * self.types
        )


def probe(settings: Settings | None = None) -> Features:
    """Look at everything; needs no privileges, but finds less without them. Never raises."""
    settings = settings or Settings()
    have = system.capabilities()
    allowed = not system.missing_capabilities(have)
    rows = []
    for check in CHECKS:
        if check.by_anybody or (allowed and have.issuperset(check.capability.split())):
            rows.append(_row(check, settings))
        else:
            rows.append(Feature(check.name, "untried", "cannot be tried without root"))
    return Features(tuple(rows))


def require(settings: Settings) -> None:
    """Raise KernelError if something is missing that the data plane cannot do without."""
    for check in CHECKS:
        if not check.without and not check.is_object:  # what is loaded is opened next
            try:
                check.look(settings)
            except OSError as e:
                raise KernelError(
                    f"This kernel refuses {check.name} ({e.strerror}). {check.remedy}"
                ) from e


def fit(obj: BpfObject) -> Needs:
    """Leave out the programs that this kernel cannot take; return what the others have to know."""
    needs = Needs(
        release=_works(probes.storage_at_release),
        task=KERNEL_BTF.exists() and _works(probes.read_task),
        types=KERNEL_BTF.exists(),
    )
    if not needs.release and _RELEASE_PROGRAM in obj.programs:
        obj.leave_out(_RELEASE_PROGRAM)
    if _ACTIVE_PROGRAM in obj.programs and not _works(probes.iterate_storage):
        obj.leave_out(_ACTIVE_PROGRAM)
    return needs


def permit(needs: Needs, *, wanted: bool, there: bool) -> None:
    """Raise KernelError where policies are wanted, or there, that our programs could not judge by.

    Without the kernel's types they would reset what is allowed. Programs that have them, of an agent that
    could read them, are not to be replaced by such.
    """
    if needs.types or not (wanted or there):
        return
    otherwise = (
        "The policies of an earlier agent stay as they are; `axon detach` ends them."
        if there
        else "Without policies (the setting policy) Axon runs here."
    )
    raise KernelError(
        f"Policies need to know what TCP holds of a connection, and this kernel does not describe its "
        f"types ({KERNEL_BTF} is missing): every connection would be reset. {TYPES} {otherwise}"
    )


def _row(check: Check, settings: Settings) -> Feature:
    try:
        return Feature(check.name, "ok", check.look(settings))
    except AxonError as e:
        detail, remedy = str(e), check.remedy
    except OSError as e:
        detail, remedy = e.strerror or str(e), check.remedy
    if check.without:
        return Feature(check.name, "degraded", f"{detail}: {check.without}", remedy)
    return Feature(check.name, "missing", detail, remedy)


def _works(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True

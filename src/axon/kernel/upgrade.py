"""Which pinned maps a new set of programs keeps, and what becomes of the others' contents."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from axon.kernel.btf import Btf
from axon.kernel.convert import converted
from axon.kernel.gate import CONTROL, DIRECTORY, GENERATION_MAPS
from axon.kernel.maps import Map
from axon.kernel.object import BpfObject, MapDef
from axon.kernel.sizing import COUNT_MAPS


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to each map: kept, or made anew."""

    kept: frozenset[str]
    made: frozenset[str]
    dropped: frozenset[str]

    @property
    def changes(self) -> bool:
        """Whether the pinned maps are to be replaced by another set."""
        return bool(self.made or self.dropped)

    @property
    def fresh_counts(self) -> bool:
        """Whether series begin in new maps."""
        return "ax_cells" in self.made

    @property
    def fresh_policies(self) -> bool:
        """Whether policies are to be brought into force in new maps."""
        return CONTROL in self.made


def plan(obj: BpfObject, before: Mapping[str, Map], *, anew: bool = False) -> Plan:
    """Decide what is kept of the pinned maps.

    If one map's shape or the layout's version differs, none is: structures refer to one another.
    If only sizes differ, what has its size is kept; the maps of counts go together, and so do those
    of a generation of policies, which are also made `anew` if that is asked for.
    """
    names = frozenset(name for name in obj.maps if is_pinned(name))
    known = names & before.keys()
    kept: set[str] = set()
    if _version(obj.btf) == pinned_version(before) and all(
        _same_shape(obj, name, before[name]) for name in known
    ):
        kept = {name for name in known if _same_size(obj.maps[name], before[name])}
        for together in (COUNT_MAPS, GENERATION_MAPS):
            if not kept.issuperset(known.intersection(together)):
                kept -= set(together)
    if anew:
        kept -= set(GENERATION_MAPS)
    return Plan(frozenset(kept), names - kept, frozenset(before) - names)


def is_pinned(name: str) -> bool:
    """Return whether a map outlives its programs: all but the compiler's own sections."""
    return not name.startswith(".")


def pinned_version(before: Mapping[str, Map]) -> int | None:
    """Return the version of the layouts of pinned maps, None if they do not tell."""
    types = next((m.types for m in before.values() if m.types), None)
    return _version(types) if types else None


def generation(before: Mapping[str, Map]) -> int:
    """Return a generation of slots above any that was given out."""
    if "ax_slots" not in before:
        return 0
    slots = before["ax_slots"]
    return int(slots.mapped(0, slots.entries)["gen"].max()) + 1


def known_secret(before: Mapping[str, Map]) -> int | None:
    """Return what keyed the hashes of the pinned maps, if it can be read."""
    if "ax_ctl" not in before:
        return None
    ctl = before["ax_ctl"].mapped(0, 1)
    return int(ctl["secret"][0]) if "secret" in (ctl.dtype.names or ()) else None


@dataclass(frozen=True, slots=True)
class Enforced:
    """What is to be known of the policies in force when their maps are replaced."""

    generation: int
    mode: int
    header: int
    serial: int  # the highest of all sets
    offs: int | None  # how often the mode was off; None where that is not known


def enforced(before: Mapping[str, Map]) -> Enforced:
    """Return what the pinned maps of policies say, also those of another layout, by their names."""
    if CONTROL not in before or DIRECTORY not in before:
        return Enforced(0, 0, 1, 0, None)
    control = before[CONTROL].mapped(0, 1)[0]
    directory = before[DIRECTORY]
    serials = directory.mapped(0, directory.entries)["serial"]
    gen, mode, header = (int(control[name]) for name in ("gen", "mode", "header"))
    offs = int(control["offs"]) if "offs" in (control.dtype.names or ()) else None
    return Enforced(gen, mode, header, int(serials.max()), offs)


def copy_routes(before: Mapping[str, Map], maps: Mapping[str, Map]) -> None:
    """Copy the routes' names into a new table, as many as it takes."""
    if "ax_routes" not in before or maps["ax_routes"].info.id == before["ax_routes"].info.id:
        return
    ids, rows = before["ax_routes"].items()
    table = maps["ax_routes"]
    for route, row in zip(ids, converted(rows, table.value), strict=True):
        try:
            table.update(route, row)
        except OSError as e:
            if e.errno != errno.E2BIG:
                raise
            break


def _version(btf: Btf) -> int | None:
    """Return AX_LAYOUT. BTF has no macros, so struct ax_contract tells it by an array's length."""
    try:
        return int(btf.struct("ax_contract")["layout"].shape[0])
    except KeyError:
        return None


def _same_shape(obj: BpfObject, name: str, pinned: Map) -> bool:
    new, info = obj.maps[name], pinned.info
    if (new.kind, new.key_size, new.value_size) != (info.type, info.key_size, info.value_size):
        return False
    if new.flags != info.map_flags:
        return False
    ours = obj.dtypes(name)
    return all(a is None or b is None or a == b for a, b in zip(ours, pinned.dtypes, strict=True))


def _same_size(new: MapDef, pinned: Map) -> bool:
    return new.entries == pinned.entries

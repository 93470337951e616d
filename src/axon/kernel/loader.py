"""Attach the data plane, or take over the one that an earlier agent left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from axon.errors import AxonError, KernelError
from axon.kernel import bpf, features, links, owners, pins, setup, system, types, upgrade
from axon.kernel.active import OVER, PROGRAM, ActiveReader
from axon.kernel.carry import carry
from axon.kernel.gate import CONTROL, GATE, Gate, Mode
from axon.kernel.lock import Lock, lock_pins
from axon.kernel.maps import Map
from axon.kernel.object import BpfObject, packaged
from axon.kernel.pins import Pins
from axon.kernel.plane import Kernel
from axon.kernel.sizing import configure
from axon.settings import Settings

VERIFIER_LOG = "verifier.log"


def attach(
    settings: Settings,
    *,
    object_path: Path | None = None,
    enforce: Callable[[Gate], None] | None = None,
    anew: bool = False,
) -> Kernel:
    """Load the programs and attach them to the cgroup, or take over what is pinned.

    A pinned data plane of the same layout and sizes is kept and its programs are replaced without
    a gap. One of another layout or other sizes is replaced, and its counts are carried over. On
    any failure what this call made is undone, and what was attached before stays attached.
    `enforce` brings policies into force; it is called if they have new maps, before any program
    runs that judges by these. Where there are policies, in whatever mode, and nothing brings them
    into force in new maps, nothing is replaced: KernelError. Nor is it where the kernel does not describe
    its types, by which alone the programs can judge. `anew`: they have new maps in any case.
    Raise BusyError when another agent runs, LoadError when the verifier refuses, else KernelError.
    """
    features.require(settings)
    cgroup = system.cgroup_to_attach(settings.cgroup)
    pinned = Pins(settings.pin_dir)
    with ExitStack() as undo:
        undo.callback(_tidy, pinned)
        pinned.prepare()
        lock = Lock(settings.run_dir, settings.pin_dir)
        undo.callback(lock.release)
        try:
            path = object_path or packaged()
            kernel = _attach(settings, path, cgroup, (pinned, lock), enforce, anew=anew)
        except OSError as e:
            raise system.explain(e, "set up the data plane") from e
        undo.pop_all()
    return kernel


def detach_all(pin_dir: Path) -> list[str]:
    """Detach and unpin a data plane; return the paths of what was removed.

    Raise BusyError while an agent runs on it.
    """
    if system.bpffs_of(pin_dir) is None or not pin_dir.is_dir():
        return []
    lock = lock_pins(pin_dir)
    try:
        pinned = Pins(pin_dir)
        pinned.take_off_gate()
        return pinned.remove_all()
    except OSError as e:
        raise system.explain(e, f"remove what is pinned in {pin_dir}") from e
    finally:
        lock.close()


def policy_mode(pin_dir: Path) -> Mode:
    """Return the switch of the gate that is pinned in a directory; raise KernelError if none is."""
    pinned = Pins(pin_dir)
    # in this order one is always found: an upgrade gives those in `next` the others' name
    coming, table = (pins.open_map(where, CONTROL) for where in (pinned.next, pinned.maps))
    tables = [one for one in (table, coming) if one]
    if not tables:
        raise KernelError(f"Nothing of Axon is attached: {pin_dir} holds no policies' state.")
    return Mode(tables)


def switch_policy_mode(pin_dir: Path, mode: int) -> None:
    """Switch the gate that is pinned in a directory; raise KernelError if none is."""
    written = None
    while True:
        with policy_mode(pin_dir) as control:
            control.mode = mode
            if control.ids == written:
                return
            written = control.ids  # an upgrade that began since has read what was before


def _tidy(pinned: Pins) -> None:
    """Remove a pin directory in which nothing is pinned, unless another agent has it."""
    with suppress(AxonError), lock_pins(pinned.dir):
        pinned.tidy()


def _attach(
    settings: Settings,
    object_path: Path,
    cgroup: Path,
    held: tuple[Pins, Lock],
    enforce: Callable[[Gate], None] | None,
    *,
    anew: bool,
) -> Kernel:
    pinned, lock = held
    pinned.recover()
    inherited = bool(pins.entries(pinned.links))
    with ExitStack() as seen, BpfObject(object_path) as obj, ExitStack() as undo:
        before = pins.open_maps(pinned.maps)
        _close_later(before.values(), seen)
        _settle(pinned, before)  # what an earlier agent left to do
        needs, there = features.fit(obj), upgrade.enforced(before).generation > 0
        features.permit(needs, wanted=enforce is not None, there=there)
        config, footprint = configure(obj, settings, needs)
        plan = upgrade.plan(obj, before, anew=anew)
        for name in plan.kept:
            obj.reuse(name, before[name].fd)
        obj.load(settings.run_dir / VERIFIER_LOG)
        maps = {name: obj.map(name) for name in obj.maps if upgrade.is_pinned(name)}
        _close_later(maps.values(), undo)
        programs = {name: obj.program(name) for name in obj.programs}
        _close_later(programs.values(), undo)
        if plan.made:
            _fill(obj, plan, before, maps)
        if plan.changes:
            pins.pin({name: m.fd for name, m in maps.items()}, pinned.next)
            undo.callback(pins.remove, pinned.next)
        types.keep(
            maps.values(), pinned.next if plan.changes else pinned.maps, pinned.maps, obj.types
        )
        gate = Gate(maps, programs[GATE]) if GATE in programs else None
        if gate and plan.fresh_policies:
            _give_mode(before, maps)
            _enforce(gate, upgrade.enforced(before), enforce)
        abi = obj.abi
        active = None
        if PROGRAM in programs:
            active = ActiveReader(programs[PROGRAM], maps[OVER], abi)
            undo.callback(active.close)
        hooks = {
            name: (programs[name], p.attach_type)
            for name, p in obj.programs.items()
            if p.attach_type != bpf.ATTACH_TRACE_ITER and p.name != GATE
        }
        coming = {name: program for name, (program, _) in hooks.items()}
        if gate:
            coming[GATE] = programs[GATE]
        pinned.pin_coming(coming)
        undo.callback(pins.remove, pinned.coming)
        judged = enforce is not None or there
        _note_owners(maps, judged=judged)
        attached = links.switch(hooks, cgroup, pinned, undo)
        _note_owners(maps, judged=judged)  # of those that were made between the look and the switch
        if gate:
            pinned.judge_by(programs[GATE], undo)
        undo.pop_all()
    links.settle(pinned, hooks)
    pinned.settle_programs()
    if plan.changes:
        pinned.advance()
    _settle(pinned, maps)
    return Kernel(
        abi=abi,
        config=config,
        maps=maps,
        programs=programs,
        links=attached,
        active=active,
        footprint=footprint,
        gate=gate,
        inherited=inherited,
        pins=pinned,
        lock=lock,
    )


def _fill(obj: BpfObject, plan: upgrade.Plan, before: dict[str, Map], maps: dict[str, Map]) -> None:
    """Give new maps what has to be in them before a program runs."""
    if "ax_ctl" in plan.made:
        setup.secret(maps, upgrade.known_secret(before))
    if plan.fresh_policies:
        setup.policies(maps, upgrade.enforced(before))
    if plan.fresh_counts:
        setup.counts(obj.abi, maps, upgrade.generation(before))
    upgrade.copy_routes(before, maps)


def _give_mode(before: dict[str, Map], maps: dict[str, Map]) -> None:
    """Give new maps, which are pinned as `next`, the mode of those in use.

    Who gives another from now on sees both, and may have done so between the look and the writing.
    """
    seen = None
    while (now := upgrade.enforced(before)) != seen:
        setup.switch(maps, now)
        seen = now


def _enforce(gate: Gate, before: upgrade.Enforced, enforce: Callable[[Gate], None] | None) -> None:
    """Bring policies into force in new maps, so that what is judged is never judged by none."""
    if enforce:
        enforce(gate)
    elif before.generation:  # also where the mode is off: it may be switched on again at any time
        are, stay = (
            ("in force", "in force") if before.mode else ("there, in mode off,", "as they are")
        )
        raise KernelError(
            f"Policies are {are} here that these kernel programs, or another policy_memory, cannot "
            "take over as they are. Give their directory too (axon run --policy DIR), or end them "
            f"with `axon detach`. They stay {stay}."
        )


def _note_owners(maps: dict[str, Map], *, judged: bool) -> None:
    """Say whose older sockets are where there are policies, which may select by the command."""
    if judged:
        owners.note(maps["ax_owner"], system.cgroup_root())


def _settle(pinned: Pins, maps: dict[str, Map]) -> None:
    """Carry the counts of maps that were replaced over to those that are attached."""
    old = pins.open_maps(pinned.old)
    if not old:
        return
    with ExitStack() as seen:
        _close_later(old.values(), seen)
        system.wait_for_runs()
        upgrade.copy_routes(old, maps)
        carry(old, maps)
    pins.remove(pinned.old)


def _close_later(opened: Iterable[Map | bpf.Fd], stack: ExitStack) -> None:
    for one in opened:
        stack.callback(one.close)

"""The mode of policies that somebody sets while their maps are being replaced is the one that holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from axon import kernel
from axon.cli import main
from axon.errors import KernelError
from axon.kernel import gate, links, loader, setup
from axon.kernel.gate import Gate
from axon.kernel.object import packaged
from axon.kernel.pins import Pins, open_maps
from axon.policy.compiler.layout import HostMode
from axon.settings import Settings, Size

ENFORCE, AUDIT = HostMode.ENFORCE, HostMode.AUDIT
Upgrade = Callable[[], HostMode]


@pytest.fixture
def upgrade(settings: Settings) -> Upgrade:
    """Give a function that replaces the maps of policies in force, and returns their mode then."""
    rooms = iter((Size(1 << 20), Size(1 << 21), Size(1 << 20)))

    def enforce(made: Gate) -> None:
        if made.generation == 0:
            made.mode = ENFORCE
        made.switch(made.generation + 2)

    def run() -> HostMode:
        changed = replace(settings, policy_memory=next(rooms))
        attached = kernel.attach(changed, object_path=packaged(), enforce=enforce)
        mode = HostMode(attached.gate.mode)
        attached.close(detach=False)
        return mode

    return run


def switch(settings: Settings, mode: str) -> None:
    """Do what an administrator does."""
    assert main(["policy", "mode", mode, "--pin-dir", str(settings.pin_dir)]) == 0


@pytest.mark.parametrize(
    ("target", "step"),
    [(loader, "_fill"), (loader, "_enforce"), (links, "switch"), (Path, "rename")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_switched_during_an_upgrade(
    upgrade: Upgrade,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    target: object,
    step: str,
) -> None:
    """At whatever step it is switched, it is what was asked for, then and afterwards."""
    assert upgrade() is ENFORCE
    original, seen = getattr(target, step), []

    def and_switch(*args: Any) -> Any:
        result = original(*args)
        switch(settings, "audit")
        with kernel.policy_mode(settings.pin_dir) as control:
            seen.append(control.mode)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(target, step, and_switch)
        assert upgrade() is AUDIT
    assert set(seen) == {AUDIT}
    assert upgrade() is AUDIT


def test_switched_between_the_look_and_the_writing(
    upgrade: Upgrade, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the upgrade has read is not written over what was given since, to the old tables and the new."""
    assert upgrade() is ENFORCE
    original, there = setup.switch, []

    def late(*args: Any) -> None:
        there.append(Pins(settings.pin_dir).next.exists())
        if there.count(True) == 1 and there[-1]:
            switch(settings, "audit")
        original(*args)

    monkeypatch.setattr(setup, "switch", late)
    assert upgrade() is AUDIT
    assert there == [False, True, True]


def test_both_are_switched(
    upgrade: Upgrade, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the programs are replaced it holds for the old ones and the new; also if that fails."""
    upgrade()

    def fail(*_: Any) -> None:
        switch(settings, "audit")
        coming = open_maps(Pins(settings.pin_dir).next)["ax_pol_ctl"]
        assert coming.mapped(0, 1)["mode"][0] == AUDIT
        raise KernelError("as a test wants it")

    with monkeypatch.context() as patch:
        patch.setattr(Pins, "judge_by", fail)
        with pytest.raises(KernelError, match="as a test"):
            upgrade()
    with kernel.policy_mode(settings.pin_dir) as control:
        assert control.mode == AUDIT


def test_an_upgrade_during_a_switch(
    upgrade: Upgrade, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has opened maps that are then replaced switches their successors."""
    upgrade()
    original, modes = gate._set_mode, []

    def upgrade_first(*args: Any) -> None:
        monkeypatch.setattr(gate, "_set_mode", original)
        modes.append(upgrade())
        original(*args)

    monkeypatch.setattr(gate, "_set_mode", upgrade_first)
    switch(settings, "audit")
    assert modes == [ENFORCE]
    assert upgrade() is AUDIT

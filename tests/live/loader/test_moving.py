"""The hooks move from one cgroup to another, all of them or none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from axon import kernel
from axon.errors import KernelError
from axon.kernel import bpf, links, loader
from axon.kernel.pins import entries
from axon.settings import Settings
from tests.live.kit.failing import fail_after

Attach = Callable[..., kernel.Kernel]
Seen = Callable[[kernel.Kernel], int]
Talk = Callable[..., "subprocess.Popen[bytes]"]


def hooks(settings: Settings) -> set[str]:
    """Return the names of the links."""
    return {path.name for path in entries(settings.pin_dir / "links")}


@pytest.fixture
def other(settings: Settings) -> Iterator[Path]:
    """Give another cgroup."""
    assert settings.cgroup is not None
    made = settings.cgroup.with_name(settings.cgroup.name + "-other")
    made.mkdir()
    yield made
    made.rmdir()


@pytest.mark.parametrize(
    ("module", "step", "calls"),
    [(bpf, "link_create", 4), (bpf, "obj_pin", 12), (loader, "_note_owners", 2)],
)
def test_another_cgroup_half_way(
    attach: Attach,
    settings: Settings,
    other: Path,
    talk: Talk,
    seen: Seen,
    *,
    module: object,
    step: str,
    calls: int,
) -> None:
    """When the hooks cannot all be moved to another cgroup, they stay where they were."""
    attach().close(detach=False)
    before = hooks(settings)
    with pytest.MonkeyPatch.context() as patch:
        fail_after(patch, module, step, calls)
        with pytest.raises(KernelError):
            attach(cgroup=other)
    assert hooks(settings) == before
    assert talk(5).wait() == 0
    attached = attach()
    assert seen(attached) == 5


@pytest.mark.parametrize(
    ("module", "step", "calls"), [(links, "settle", 1), (bpf, "link_detach", 3)]
)
def test_death_while_moving_to_another_cgroup(
    attach: Attach,
    settings: Settings,
    other: Path,
    talk: Talk,
    seen: Seen,
    *,
    module: object,
    step: str,
    calls: int,
) -> None:
    """An agent that died while its hooks were moved leaves all of them, and the next one moves them."""
    attach().close(detach=False)
    before = hooks(settings)
    with pytest.MonkeyPatch.context() as patch:
        fail_after(patch, module, step, calls, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            attach(cgroup=other)
    attached = attach(cgroup=other)
    assert attached.links_alive()
    assert hooks(settings) == before
    assert talk(5).wait() == 0
    assert seen(attached) == 0
    attached.close(detach=False)
    attached = attach()
    assert talk(5).wait() == 0
    assert seen(attached) == 5

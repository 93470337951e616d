"""What policies have decided is counted for each of them, by a number that is given again one day."""

from __future__ import annotations

from collections.abc import Callable

from axon import kernel
from axon.kernel.object import packaged
from axon.policy.compiler.compile import name_of


def test_a_number_that_is_given_again(attach: Callable[..., kernel.Kernel]) -> None:
    """A policy begins with nothing counted where its number was another's, and keeps what is its own."""
    attached = attach(packaged())
    gate, counts = attached.gate, attached._maps["ax_pol_counts"]
    gate.name(7, name_of("default/first"))
    rows = counts.lookup(7)
    assert rows is not None
    rows["verdict"] = 3
    for number in (7, 8):
        counts.update(number, rows)
    gate.name(7, name_of("default/first"))
    assert gate.verdicts()[7].all()
    gate.name(7, name_of("default/second"))
    assert not gate.verdicts()[7].any()
    assert gate.verdicts()[8].all()

"""What policies have decided is counted for each of them, by a number that is given again one day."""

from __future__ import annotations

from collections.abc import Callable

from axon import kernel
from axon.kernel.maps import Map
from axon.kernel.object import packaged
from axon.policy.compiler.compile import name_of


def give_counts(counts: Map, *numbers: int) -> None:
    """Have something counted for policies."""
    for number in numbers:
        rows = counts.lookup(number)
        assert rows is not None
        rows["verdict"] = 3
        counts.update(number, rows)


def test_a_number_that_is_given_again(attach: Callable[..., kernel.Kernel]) -> None:
    """A policy begins with nothing counted where its number was another's, and keeps what is its own."""
    attached = attach(packaged())
    gate, counts = attached.gate, attached._maps["ax_pol_counts"]
    gate.name({7: name_of("default/first")})
    give_counts(counts, 7, 8)
    gate.name({7: name_of("default/first")})
    assert gate.verdicts()[7].all()
    gate.name({7: name_of("default/second")})
    assert not gate.verdicts()[7].any()
    assert gate.verdicts()[8].all()


def test_a_policy_that_has_another_number(attach: Callable[..., kernel.Kernel]) -> None:
    """One that was deleted and comes again has one number, and is not told, or carried over, with both's counts."""
    attached = attach(packaged())
    gate, counts = attached.gate, attached._maps["ax_pol_counts"]
    gate.name({7: name_of("default/first"), 9: name_of("default/other")})
    give_counts(counts, 7, 9)
    gate.name({8: name_of("default/first")})
    assert gate.names() == {8: "default/first", 9: "default/other"}
    assert not gate.verdicts()[7:9].any()
    assert gate.verdicts()[9].all()

"""Who is first where requests are judged."""

from __future__ import annotations

import pytest

from axon.kernel import bpf, tc
from axon.kernel.netlink import Filter

OURS = Filter(tc.PRIORITY, tc.HANDLE, "bpf", 5)
IP = 0x0800


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ([], []),
        ([OURS], []),
        ([OURS, Filter(1, 1, "bpf", 6)], []),
        ([Filter(2, 1, "bpf", 6), Filter(49152, 1, "u32", 0)], []),
        ([Filter(1, 1, "bpf", 6, name="other")], []),  # ours would come before it
        ([Filter(1, 1, "bpf", 6, name="other"), OURS], ["the filter other, of kind bpf with priority 1"]),
        ([Filter(1, 1, "bpf", 6, protocol=IP)], ["a filter of kind bpf with priority 1"]),
        ([Filter(1, 1, "flower", 0)], ["a filter of kind flower with priority 1"]),
    ],
)  # fmt: skip
def test_who_is_in_front(
    monkeypatch: pytest.MonkeyPatch, there: list[Filter], said: list[str]
) -> None:
    """Named is whose verdict comes before ours, or what keeps ours from being attached; nobody else."""
    monkeypatch.setattr(tc, "chain", lambda _: there)
    monkeypatch.setattr(bpf, "attached_names", lambda *_: [])
    assert tc.in_front(tc.Point(2)) == said
    monkeypatch.setattr(bpf, "attached_names", lambda *_: ["cil_from_netdev"])
    assert tc.in_front(tc.Point(2)) == ["the program cil_from_netdev (tcx)", *said]

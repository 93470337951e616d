"""What is refused, and said, where the kernel lacks something that only a part of Axon needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from axon.errors import KernelError
from axon.kernel import features
from axon.kernel.features import Needs

TYPED, UNTYPED = (Needs(release=True, task=types, types=types) for types in (True, False))


def test_policies_without_types() -> None:
    """They are refused with what to do, whether they are to come or are there from an earlier agent."""
    with pytest.raises(KernelError, match=r"CONFIG_DEBUG_INFO_BTF=y.* Axon runs here\.$"):
        features.permit(UNTYPED, wanted=True, there=False)
    for wanted in (False, True):
        with pytest.raises(KernelError, match=r"stay as they are; `axon detach` ends them\.$"):
            features.permit(UNTYPED, wanted=wanted, there=True)


def test_nothing_else_is_refused() -> None:
    """Observing goes without types, and policies with them."""
    features.permit(UNTYPED, wanted=False, there=False)
    for wanted, there in ((False, True), (True, False), (True, True)):
        features.permit(TYPED, wanted=wanted, there=there)


def test_the_doctor_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of its own says that policies are refused, and the remedy; Axon can run all the same."""
    monkeypatch.setattr("axon.kernel.checks.KERNEL_BTF", tmp_path)
    row = features.probe()["TCP's state"]
    assert (row.state, row.detail) == ("ok", "can be read")
    monkeypatch.setattr("axon.kernel.checks.KERNEL_BTF", tmp_path / "vmlinux")
    row = features.probe()["TCP's state"]
    assert row.state == "degraded"
    assert "an agent with policies refuses to start" in row.detail
    assert "CONFIG_DEBUG_INFO_BTF=y" in row.remedy

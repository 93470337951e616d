"""Every reason of denials is brought about by a test on the kernel, which says so by its name."""

from __future__ import annotations

import ast

import pytest

from scripts import docs

NOWHERE: dict[str, str] = {}
"""Reasons that no test can bring about, and why."""


def _named() -> set[str]:
    """Return the texts, and the names of arguments, that stand in the live tests of policies."""
    found: set[str] = set()
    for path in sorted((docs.ROOT / "tests" / "live" / "policy").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg:
                found.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


NAMED = _named()


@pytest.mark.parametrize("reason", [one.name for one in docs.denials()])
def test_every_reason_is_tested(reason: str) -> None:
    """Each of the header's reasons is counted in a live test, or stands above, and not both."""
    assert (reason in NAMED) is not (reason in NOWHERE)

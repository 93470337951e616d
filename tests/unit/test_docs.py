"""What a user can see is documented, and the documentation does not speak of what is not there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from axon import settings
from scripts import docs

ROOT = docs.ROOT
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_parts_are_current(path: Path) -> None:
    """A page's generated parts are what `make docs` would write."""
    page = path.read_text(encoding="utf-8")
    assert docs.fill(page) == page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """A relative link of a page names a file or a folder of the repository."""
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target


def test_every_setting_is_documented() -> None:
    """Each setting stands on its page by its name, its flag and its environment variable."""
    page = _page("settings.md")
    for name, setting in settings.table().items():
        for text in (name, setting.flag, setting.env, setting.help):
            assert text in page, name


def test_every_reason_is_documented() -> None:
    """Each counter of the kernel's list stands on its page, with a sentence."""
    page = _page("reasons.md")
    for reason in docs.reasons():
        assert f"| `{reason.name.lower()}` | {reason.text} |" in page


def test_every_make_verb_has_a_sentence() -> None:
    """Plain `make` lists each verb with what it does, and no verb of the README is missing."""
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    verbs = dict(re.findall(r"^  make (\S+) +(\S.*)$", listed, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(verbs) == set(phony[1].split())
    for page in PAGES:
        code = re.findall(r"`[^`\n]+`|```.*?```", page.read_text(encoding="utf-8"), re.DOTALL)
        for verb in re.findall(r"\bmake ([a-z]+)", " ".join(code)):
            assert verb in verbs, f"{page.name}: make {verb}"

"""What a user can see is documented, and the documentation does not speak of what is not there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from axon import settings
from axon.api import openapi
from axon.cli.verbs import VERBS
from axon.policy import parse_policies
from axon.policy.files.readgiven import parse_given
from scripts import docs, metrics

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
    """Each counter of the kernel's list stands on its page, by the label that /metrics gives it."""
    page = _page("reasons.md")
    names = [reason.name.lower() for reason in docs.reasons()]
    shown = 0
    for family in metrics.of_axon(names):
        if family.name in {
            "axon_lost",
            "axon_connections",
            "axon_events",
            "axon_flow_records_dropped",
        }:
            section = page.split(f"`{metrics.sample_name(family)}{{", 1)[1].split("\n## ", 1)[0]
            for labels in family.labels:
                assert f"| `{labels.pairs[0][1]}` |" in section, family.name
                shown += 1
    assert shown == len(names)


def test_every_denial_is_documented() -> None:
    """Each reason of denials stands on the page of policies, by the label that /metrics gives it."""
    page = _page("policy.md")
    names = [reason.name.lower() for reason in docs.denials()]
    (denials,) = [f for f in metrics.of_policies(names) if f.name == "axon_policy_denials"]
    assert [labels.pairs[0][1] for labels in denials.labels] == names
    for reason in docs.denials():
        assert f"| `{reason.name.lower()}` | {reason.text} |" in page


def test_every_metric_is_documented() -> None:
    """Each family that the exporter can write stands on its page by the name that a query uses."""
    page = _page("metrics.md")
    usual, legacy = metrics.of_requests()
    of_policies = metrics.of_policies(["rule"])
    for family in (*usual, *legacy, *metrics.of_axon(["lost_gap"]), *of_policies):
        assert f"| `{metrics.sample_name(family)}` |" in page
        assert family.help in page


def test_every_module_of_metrics_is_documented() -> None:
    """A metric that the code names as a text stands on its page: none is forgotten by the list above."""
    page = _page("metrics.md")
    for path in sorted((ROOT / "src" / "axon" / "export").glob("*.py")):
        named = re.findall(r'"((?:axon|http|process|traces)_[a-z_]+)"', path.read_text("utf-8"))
        for name in named:
            assert re.search(rf"`{name}(_total)?`", page), f"{path.name}: {name}"


def test_every_verb_and_flag_is_documented() -> None:
    """Each verb has a section, and each of its options stands in it or on the settings' page."""
    sections = _page("commands.md").split("\n## ")
    of_settings = _page("settings.md")
    for name, parser in (pair for verb in VERBS for pair in docs.parsers(verb).items()):
        (section,) = [part for part in sections if part.startswith(f"axon {name}\n")]
        usage = parser.format_help()
        for flag in set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", usage, re.MULTILINE)) - {"--help"}:
            assert f"`{flag}" in section or f"`{flag}`" in of_settings, f"axon {name} {flag}"


@pytest.mark.parametrize("name", ["README.md", "docs/policy.md"])
def test_policies_on_a_page_can_be_used(name: str) -> None:
    """What a page shows as policies, or as a file of labels, is taken as it stands by who copies it."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    labels = [block for block in blocks if block.startswith("- match")]
    assert all(parse_given(block, name).entries for block in labels)
    whole = [block for block in blocks if block not in labels]
    found = [policy for block in whole for policy in parse_policies(block, name)]
    assert found
    assert all(str(policy).startswith("default/") for policy in found)


def test_every_api_endpoint_is_documented() -> None:
    """Each path of the OpenAPI document stands on the API's page."""
    page = _page("api.md")
    for path, operations in openapi.build()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in page


def test_every_make_verb_has_a_sentence() -> None:
    """Plain `make` lists each verb with what it does, and no verb of the README is missing."""
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    verbs = dict(re.findall(r"^  make (\S+) +(\S.*)$", listed, re.MULTILINE))
    makefiles = "".join(
        path.read_text() for path in (ROOT / "Makefile", *ROOT.glob("tests/*/*.mk"))
    )
    phony = re.findall(r"^\.PHONY: (.*)$", makefiles, re.MULTILINE)
    assert set(verbs) == set(" ".join(phony).split())
    for page in PAGES:
        code = re.findall(r"`[^`\n]+`|```.*?```", page.read_text(encoding="utf-8"), re.DOTALL)
        for verb in re.findall(r"\bmake ([a-z]+)", " ".join(code)):
            assert verb in verbs, f"{page.name}: make {verb}"

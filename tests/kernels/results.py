"""What came of the guests: read from the files that they leave, compared with the baseline."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("baseline.json")
MOST_GROWTH = 0.10


@dataclass(slots=True)
class Group:
    """What came of a group of tests."""

    passed: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Guest:
    """What came of one guest: a kernel in a configuration."""

    kernel: str
    release: str
    configuration: str
    groups: dict[str, Group] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)  # test, message
    seconds: float = 0.0  # from boot to end
    cases: list[ET.Element] = field(default_factory=list)
    verified: dict[str, int] = field(default_factory=dict)  # program: instructions
    ns_per_run: dict[str, float] = field(default_factory=dict)
    ns_per_request: float = 0.0  # in all programs, at both ends; 0: not measured

    @property
    def title(self) -> str:
        """What tells this guest from others."""
        return self.kernel + (f", {self.configuration}" if self.configuration else "")

    def fail(self, test: str, message: str) -> None:
        """Adds a failure that no test in the guest has reported."""
        self.groups.setdefault("guest", Group()).failed += 1
        self.failures.append((test, message))
        case = ET.Element("testcase", classname="tests.kernels", name=test, time="0")
        ET.SubElement(case, "failure", message=message.partition("\n")[0]).text = message
        self.cases.append(case)


def collect(guest: Guest, out: Path, tests: Mapping[str, Sequence[str]]) -> None:
    """Reads what a guest has written to `out`: the tests' results, verdicts and an exchange."""
    prefixes = {
        path.removesuffix(".py").replace("/", "."): name
        for name, paths in tests.items()
        for path in paths
    }
    junit = out / "junit.xml"
    if not junit.exists():
        guest.fail("pytest", "the tests did not come to their end")
    else:
        for case in ET.parse(junit).iter("testcase"):
            _count(guest, case, prefixes)
    for verdict in _json(out / "verify.json") or []:
        guest.verified[verdict["program"]] = verdict["verified"]
    if exchange := _json(out / "exchange.json"):
        guest.ns_per_run = exchange["ns_per_run"]
        guest.ns_per_request = exchange["ns_per_request"]


def _count(guest: Guest, case: ET.Element, prefixes: Mapping[str, str]) -> None:
    name = case.get("classname", "")
    fitting = [prefix for prefix in prefixes if f"{name}.".startswith(f"{prefix}.")]
    group = guest.groups.setdefault(
        prefixes[max(fitting, key=len)] if fitting else "collection", Group()
    )
    group.seconds += float(case.get("time", 0))
    guest.cases.append(case)
    wrong = [child for child in case if child.tag in {"failure", "error", "skipped"}]
    if not wrong:
        group.passed += 1
        return
    group.failed += 1  # a skipped test, too: it was asked for and did not run
    message = wrong[0].get("message", "") + "\n" + (wrong[0].text or "")
    guest.failures.append((f"{name}.{case.get('name')}", message.strip()))


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def baseline() -> dict[str, dict[str, int]]:
    """The committed instruction counts: by kernel, by program."""
    known: dict[str, dict[str, int]] = _json(BASELINE) or {}
    return known


def accept(guests: Sequence[Guest]) -> None:
    """Makes today's instruction counts the baseline of their kernels."""
    known = baseline()
    for guest in guests:
        if guest.verified and not guest.configuration:
            known[guest.kernel] = guest.verified
    BASELINE.write_text(json.dumps(known, indent=2) + "\n")


def compare(guest: Guest, known: Mapping[str, int]) -> None:
    """Fails a guest in which the verifier walks over 10 % more instructions than it did.

    Kernels that are not in the baseline, and programs that are new, are not compared.
    """
    for program, count in guest.verified.items():
        before = known.get(program, count)
        if count > before * (1 + MOST_GROWTH):
            guest.fail(
                f"baseline[{program}]",
                f"the verifier walks {count} instructions of {program}, {before} before"
                f" (+{100 * (count / before - 1):.0f} %): make it cheaper, or state why it may grow"
                " and accept it: make kernels KERNELS=--accept",
            )


def junit(guests: Sequence[Guest]) -> bytes:
    """All results as one JUnit document, a test suite for each guest."""
    root = ET.Element("testsuites")
    for guest in guests:
        groups = guest.groups.values()
        tests = sum(group.passed + group.failed for group in groups)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=guest.title,
            tests=str(tests),
            failures=str(len(guest.failures)),
            time=f"{guest.seconds:.1f}",
        )
        properties = ET.SubElement(suite, "properties")
        for name, value in _measured(guest):
            ET.SubElement(properties, "property", name=name, value=value)
        suite.extend(guest.cases)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _measured(guest: Guest) -> Iterator[tuple[str, str]]:
    for name, group in guest.groups.items():
        yield (
            f"tests.{name}",
            f"{group.passed} passed, {group.failed} failed, {group.seconds:.1f} s",
        )
    for program, count in guest.verified.items():
        yield f"verified.{program}", str(count)
    for program, ns in guest.ns_per_run.items():
        yield f"ns_per_run.{program}", f"{ns:.0f}"
    if guest.ns_per_request:
        yield "ns_per_request", f"{guest.ns_per_request:.0f}"

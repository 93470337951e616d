"""`axon policy validate`, `explain` and `test`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from axon.api import policy as api
from axon.cli import main
from axon.cli.policy.mode import MODES
from axon.policy.compiler.layout import HostMode
from tests.unit.policy.files.test_read import ISSUE

ASKED = ("--workload", "app=backend", "--from", "app=frontend")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The example of the documentation."""
    path = tmp_path / "policy.yaml"
    path.write_text(ISSUE)
    return path


def test_validate(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists the policies of a directory that are right, and says all that is wrong with status 1."""
    assert main(["policy", "validate", str(file.parent)]) == 0
    assert capsys.readouterr().out == "default/backend-api-policy: enforce, 3 rules\n"
    file.write_text(ISSUE.replace("GET", "get").replace("/api/*", "/api//*"))
    assert main(["policy", "validate", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"axon: {file}:9:20: methods have a case, and no client sends get: write GET.",
        f"{file}:13:36: an empty segment is denied: write one / instead of two.",
    ]


def test_validate_knows_the_bounds(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that exceeds a bound by itself is refused too."""
    file.write_text(ISSUE + "        - {path: /a*}\n" * 65)
    assert main(["policy", "validate", str(file)]) == 1
    assert "65 rules with * inside a segment" in capsys.readouterr().err


def test_explain(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says the verdict, the deciding rule and where it is written."""
    command = ["policy", "explain", "-f", str(file), *ASKED]
    assert main([*command, "GET", "/api/users"]) == 0
    verdict, why, where = capsys.readouterr().out.splitlines()
    assert verdict.startswith("forwarded: GET /api/users on port 80, from app=frontend to app=back")
    assert why == "default/backend-api-policy ingress[0].httpRules[0] allows it: GET /api/users."
    assert where == f"See {file}:9:11."
    assert main([*command, "PUT", "/api/users", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["rule"], found["reason"]) == ("dropped", None, "rule")
    assert main([*command, "--namespace", "prod", "GET", "/api/users"]) == 0
    assert capsys.readouterr().out.startswith("none: GET")


def test_explain_needs_to_know_who(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a workload the command line cannot be understood; a broken address can, and is refused."""
    with pytest.raises(SystemExit) as left:
        main(["policy", "explain", "-f", str(file), "GET", "/"])
    assert left.value.code == 2
    capsys.readouterr()
    command = ["policy", "explain", "-f", str(file), "--workload", "a=b", "--from", "10.0.0"]
    assert main([*command, "GET", "/"]) == 1
    assert (
        capsys.readouterr().err == "axon: 10.0.0 is no address: write all of it, as in 10.0.0.7.\n"
    )


def test_test(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is quiet about what is as expected, and ends with status 1 if anything is not."""
    expected = file.parent / "expected"
    good = "- {request: GET /api/users, from: app=frontend, workload: app=backend, expect: allow}\n"
    expected.write_text(good)
    command = ["policy", "test", "-f", str(file), str(expected)]
    assert main(command) == 0
    assert capsys.readouterr() == ("", "1 of 1 as expected\n")
    expected.write_text(good + good.replace("GET", "PUT"))
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{expected}:2:3: expected allow, but it is dropped.")
    assert said.err == "1 of 2 as expected\n"


LABELS = """\
- match: {unit: web.service}
  labels: {app: backend}
- match: {command: curl}
  labels: {app: admin}
- match: {address: 10.0.0.0/24}
  labels: {app: frontend}
"""


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A file of labels."""
    path = tmp_path / "labels"
    path.write_text(LABELS)
    return path


@pytest.mark.parametrize(
    ("who", "request_", "verdict"),
    [
        ("10.0.0.7", "GET /api/users", "forwarded"),
        ("10.0.0.7", "PUT /api/users", "dropped"),
        ("10.0.1.7", "GET /api/users", "dropped"),
        ("curl", "PUT /api/users", "forwarded"),
        ("axon.dev/command=wget", "PUT /api/users", "dropped"),
        ("", "GET /api/users", "dropped"),
    ],
)
def test_labels_of_the_users(
    file: Path,
    labels: Path,
    capsys: pytest.CaptureFixture[str],
    who: str,
    request_: str,
    verdict: str,
) -> None:
    """Workloads, callers and addresses have the labels of the file that the agent has, for both verbs."""
    explain = ["policy", "explain", "-f", str(file), "--workload", "web.service", "--from", who]
    assert main([*explain, *request_.split()]) == 0
    assert capsys.readouterr().out.startswith("none: ")
    assert main([*explain, *request_.split(), "--labels", str(labels)]) == 0
    assert capsys.readouterr().out.startswith(f"{verdict}: ")
    expected = file.parent / "expected"
    expect = "allow" if verdict == "forwarded" else "deny"
    expected.write_text(
        f"- {{request: {request_}, from: '{who}', workload: web.service, expect: {expect}}}\n"
    )
    assert main(["policy", "test", "-f", str(file), "--labels", str(labels), str(expected)]) == 0


@pytest.mark.parametrize("verb", ["explain", "test"])
def test_a_broken_file_of_labels(
    file: Path, labels: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """What is wrong with the labels is said by line and column, and that there is no such file."""
    asked = (*ASKED, "GET", "/") if verb == "explain" else (str(file),)
    command = ["policy", verb, "-f", str(file), "--labels", str(labels), *asked]
    labels.write_text("- match: {unit: nginx}\n  label: {app: frontend}\n")
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[0].startswith(f"axon: {labels}:1:")
    assert f"{labels}:2:3: " in said.err
    labels.unlink()
    assert main(command) == 1
    assert capsys.readouterr().err.startswith(f"axon: Cannot read {labels}: No such file")


def test_modes_are_the_kernels() -> None:
    """The command line, the API and the kernel have the same modes of a host."""
    words = tuple(mode.name.lower() for mode in HostMode)
    assert words == MODES == get_args(api.HostMode)


def test_without_policies_yaml_is_not_imported() -> None:
    """The parser of YAML is loaded by the first file that is read, and not before."""
    code = (
        "import sys, axon.policy; from axon.policy import Compiler, Host;"
        "Compiler(1).compile([], Host()); print('yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

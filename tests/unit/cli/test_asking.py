"""The verbs that ask an agent: top, observe, status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from axon.api import schema
from axon.api.filters import FlowFilter
from axon.cli import main
from tests.unit.cli.canned import Canned

Capture = pytest.CaptureFixture[str]


def test_top_prints_its_table_for_scripts(agent: Canned, capsys: Capture) -> None:
    """Without a terminal, or with --once, the table is printed: heading, rows by rate, totals."""
    assert main(["top", "--once"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SERVICE")
    assert lines[1].split()[:4] == ["nginx.service", "GET", "/", "1420"]
    assert lines[-1] == "not read: 12 TLS, 3 HTTP/2"
    assert main(["top"]) == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_top_sorts_and_filters(agent: Canned, capsys: Capture) -> None:
    """Rows are in the order and of the kind that was asked for."""
    assert main(["top", "--once", "--sort", "p99", "--filter", "docker !web"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:3]
    assert [row.split()[1] for row in rows] == ["DELETE", "GET"]
    assert main(["top", "--once", "--role", "client"]) == 0
    assert "/v1/charge" in capsys.readouterr().out


def test_top_as_json(agent: Canned, capsys: Capture) -> None:
    """Programs get the snapshot in the API's form, with the rows that were asked for."""
    assert main(["top", "-o", "json", "--filter", "checkout"]) == 0
    snapshot = msgspec.json.decode(capsys.readouterr().out, type=schema.Snapshot)
    assert [row.service for row in snapshot.endpoints] == ["checkout.service"]
    assert snapshot.server == agent.picture.server


def test_observe_shows_the_newest(agent: Canned, capsys: Capture) -> None:
    """The newest twenty, or as many as were asked for, and below how many matched and were shown."""
    assert main(["observe"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 20
    assert said.err == "30 matched, 20 shown\n"
    assert main(["observe", "--last", "3", "-o", "jsonl"]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["number"] for line in said.out.splitlines()] == [27, 28, 29]
    assert said.err == "30 matched, 3 shown\n"
    assert main(["observe", "--last", "0"]) == 0
    assert capsys.readouterr().err == "30 matched, 0 shown\n"


@pytest.mark.parametrize("form", ["table", "wide"])
def test_observe_as_a_table(form: str, agent: Canned, capsys: Capture) -> None:
    """The tables have a heading."""
    assert main(["observe", "--last", "2", "-o", form]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["TIME", "WAY", "SOURCE"]
    assert len(lines) == 3


def test_observe_as_one_document(agent: Canned, capsys: Capture) -> None:
    """JSON is one document: a list of flows in the API's form."""
    assert main(["observe", "--last", "2", "-o", "json"]) == 0
    flows = msgspec.json.decode(capsys.readouterr().out, type=list[schema.Flow])
    assert flows == agent.flows[-2:]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], FlowFilter()),
        (["--status", "5xx"], FlowFilter(status="5xx")),
        (["--method", "get,post"], FlowFilter(method=("GET", "POST"))),
        (["--method", "get", "--method", "post"], FlowFilter(method=("GET", "POST"))),
        (["--not", "--path", "/healthz"], FlowFilter(path="/healthz", negate=frozenset({"path"}))),
        (
            ["--not", "--role", "client", "--error"],
            FlowFilter(role="client", error=True, negate=frozenset({"role"})),
        ),
        (["--not", "--error"], FlowFilter(error=True, negate=frozenset({"error"}))),
        (["--min-duration", "250ms"], FlowFilter(min_duration=0.25)),
        (["--min-duration", "1.5s"], FlowFilter(min_duration=1.5)),
        (["--min-duration", "2"], FlowFilter(min_duration=2)),
        (["--address", "10.0.0.0/8", "--port", "80"], FlowFilter(address="10.0.0.0/8", port=80)),
        (
            ["--service", "a.service", "--server-port", "8080", "--command", "nginx"],
            FlowFilter(service="a.service", server_port=8080, command="nginx"),
        ),
    ],
)
def test_observe_hands_its_filters_on(
    arguments: Sequence[str], wanted: FlowFilter, agent: Canned, capsys: Capture
) -> None:
    """The agent gets each filter, and which of them are turned round."""
    assert main(["observe", *arguments]) == 0
    assert agent.asked == wanted


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--status", "6"], "argument --status: must be like 404, 5xx or 400-499, not '6'"),
        (["--method", "GRAB"], "argument --method: must be of GET"),
        (["--port", "0"], "argument --port: must be from 1 to 65535"),
        (["--min-duration", "soon"], "argument --min-duration: must be like 250ms"),
        (["--address", "somewhere"], "argument --address: must be an IP address"),
        (["--path", "healthz"], "argument --path: must be the beginning of a path"),
        (["--role", "both"], "argument --role: must be server or client"),
        (["--status", "200", "--status", "404"], "argument --status"),
        (["--not"], "argument --not: stands before the filter that it turns round"),
        (["--not", "--not", "--error"], "argument --not: stands before another --not"),
        (["--last", "-1"], "argument -n/--last: must be from 0 to 100000"),
        (["--limit", "-1"], "argument --limit: must not be below 0"),
        (["--follow", "-o", "json"], "json is one document"),
    ],
)
def test_observe_refuses_what_makes_no_sense(
    arguments: Sequence[str], says: str, capsys: Capture
) -> None:
    """A filter that cannot be used is a mistake of the command line, named with its option."""
    try:
        status: object = main(["observe", *arguments])
    except SystemExit as left:
        status = left.code
    assert status == 2
    assert says in capsys.readouterr().err


def test_observe_follows_until_its_limit(agent: Canned, capsys: Capture) -> None:
    """With a limit the stream ends by itself and says how many more had matched."""
    assert main(["observe", "--follow", "--limit", "5", "--last", "2"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 7
    assert said.err == "50 matched, 5 shown\n"


def test_observe_says_where_more_may_have_matched(agent: Canned, capsys: Capture) -> None:
    """What is only a lower bound is not told as a count."""
    assert main(["observe", "--follow", "--limit", "2", "--service", "curl"]) == 0
    assert capsys.readouterr().err == "at least 20 matched, 2 shown\n"


def test_observe_is_ended_by_ctrl_c(agent: Canned) -> None:
    """Ctrl-C is how one stops following: success, and the counts are said."""
    with subprocess.Popen(
        [sys.executable, "-m", "axon", "observe", "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        assert process.stdout
        assert process.stderr
        for _ in range(3):
            assert "/users/42" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        matched, shown = process.stderr.read().split(", ")
    assert process.returncode == 0
    assert int(matched.split()[0]) == 10 * int(shown.split()[0]) > 0


def test_a_stream_ends_when_its_reader_does(agent: Canned) -> None:
    """With its reader gone the command ends quietly instead of following for ever."""
    done = subprocess.run(
        f"{sys.executable} -m axon observe --follow | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "/users/42" in done.stdout
    assert "Traceback" not in done.stderr


def test_status_of_an_agent_that_is_well(agent: Canned, capsys: Capture) -> None:
    """The status says what is attached, what it costs, and each counter that is not zero."""
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert "process 4242" in said.splitlines()[0]
    assert said.splitlines()[0].endswith("healthy")
    for text in ("/sys/fs/cgroup/unified", "1,234,567", "312", "1,204", "12%", "lost", "gap"):
        assert text in said
    assert "nest" not in said


def test_status_of_an_agent_that_is_ill(agent: Canned, capsys: Capture) -> None:
    """An agent that is not healthy says why, and the exit status is 1."""
    agent.state = msgspec.structs.replace(agent.state, healthy=False, problem="a link is gone")
    assert main(["status"]) == 1
    assert "NOT HEALTHY: a link is gone" in capsys.readouterr().out.splitlines()[0]


def test_status_as_json(agent: Canned, capsys: Capture) -> None:
    """Programs get the status in the API's form."""
    assert main(["status", "-o", "json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=schema.Status) == agent.state


@pytest.mark.parametrize("verb", ["top", "observe", "status"])
def test_no_agent(verb: str, tmp_path: Path, capsys: Capture) -> None:
    """Without an agent each of them says in a line how to start one."""
    assert main([verb, "--run-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "axon run" in said

"""The command line as a whole: its verbs, errors and exit statuses."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import axon
from axon.cli import main
from axon.cli.parser import for_all, for_verb
from axon.cli.verbs import VERBS
from axon.errors import AxonError
from scripts import docs
from tests.live.kit.terminal import Terminal
from tests.live.kit.waiting import until

COMMAND = (sys.executable, "-m", "axon")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, without a terminal."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_alone_it_lists_the_verbs(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a verb the command says what it is, lists every verb, and has done what was asked."""
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for name, text in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", said, re.MULTILINE)
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb's help begins with its usage and its sentence, and says something of each option."""
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: axon {verb}")
    assert f"{VERBS[verb].capitalize()}.\n" in said
    for action in for_verb(verb)._actions:
        assert action.help, action.option_strings


def test_help_is_a_word_too(capsys: pytest.CaptureFixture[str]) -> None:
    """`axon help VERB` says what `axon VERB --help` says."""
    with pytest.raises(SystemExit):
        main(["help", "top"])
    assert capsys.readouterr().out.startswith("usage: axon top")
    assert main(["help", "tpo"]) == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_what_it_does_not_know(verb: str) -> None:
    """An unknown option is a mistake of the command line: status 2, and nothing is done."""
    with pytest.raises(SystemExit) as left:
        main([verb, "--no-such-option"])
    assert left.value.code == 2


def test_a_misspelt_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown verb is answered with the nearest one and status 2."""
    assert main(["obsreve"]) == 2
    assert capsys.readouterr().err == "axon: there is no verb 'obsreve'; did you mean observe?\n"
    assert main(["qqq"]) == 2
    assert "axon alone lists the verbs" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["version", "--version", "-V"])
def test_the_version(argument: str) -> None:
    """The version is said in one line, also by the option that other commands have."""
    done = run(argument)
    assert done.returncode == 0
    assert re.fullmatch(rf"axon {re.escape(axon.__version__)} \(.*\)\n", done.stdout)


def test_the_version_as_json() -> None:
    """The version is to be had for programs too."""
    assert json.loads(run("version", "--output", "json").stdout)["axon"] == axon.__version__


def test_a_verb_imports_only_what_it_needs() -> None:
    """The version costs no library: numpy, the server's and the terminal's stay where they are."""
    code = (
        "import sys, axon.cli; axon.cli.main(['version']);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"numpy", "msgspec", "aiohttp", "asyncio", "textual", "rich", "shtab"}


def test_it_starts_quickly() -> None:
    """The version takes less than a tenth of a second of CPU more than an empty program."""

    def seconds(*command: str) -> float:
        times = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(times)

    assert seconds(*COMMAND, "version") - seconds(sys.executable, "-c", "pass") < 0.1


def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the user can do something about is said in a line on standard error: status 1."""

    def fails(_: object) -> int:
        raise AxonError("No agent answers. Start one: axon run")

    monkeypatch.setattr("axon.cli.version.run", fails)
    assert main(["version"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "axon: No agent answers. Start one: axon run\n")


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not the user's is not caught: its traceback is what a report needs."""

    def fails(_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("axon.cli.version.run", fails)
    with pytest.raises(ZeroDivisionError):
        main(["version"])


def test_a_reader_that_goes_away() -> None:
    """A pipe that is closed early ends the command quietly, with the status of SIGPIPE."""
    with subprocess.Popen(
        [*COMMAND, "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the command without a traceback, with the status of SIGINT."""

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("axon.cli.version.run", interrupted)
    assert main(["version"]) == 128 + signal.SIGINT


def test_a_terminal_that_knows_no_unicode() -> None:
    """Where a character cannot be written another stands for it; nothing breaks."""
    done = run("config", "--sample", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_is_the_command() -> None:
    """The installed command and `python -m axon` say the same."""
    command = Path(sys.executable).with_name("axon")
    installed = subprocess.run([command], capture_output=True, text=True, check=True)
    assert installed.stdout == run().stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_verb_and_option(shell: str) -> None:
    """The script for each shell holds every verb, those below it, and every option of each."""
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    for name, parser in (pair for verb in VERBS for pair in docs.parsers(verb).items()):
        assert name.rpartition(" ")[2] in done.stdout
        for action in parser._actions:
            for option in action.option_strings:
                assert option.lstrip("-") in done.stdout


def test_the_script_for_bash_completes() -> None:
    """A bash that has read the script completes verbs and options."""
    script = run("completion", "bash").stdout
    asked = (
        f"{script}\nCOMP_WORDS=(axon obs); COMP_CWORD=1; _shtab_axon; echo ${{COMPREPLY[@]}}\n"
        "COMP_WORDS=(axon top --so); COMP_CWORD=2; _shtab_axon; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(axon run --peers p); COMP_CWORD=3; _shtab_axon; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(axon observe --method O); COMP_CWORD=3; _shtab_axon; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(axon run --routes /etc/hostna); COMP_CWORD=3; _shtab_axon; echo ${COMPREPLY[0]}\n"
        "COMP_WORDS=(axon policy mode au); COMP_CWORD=3; _shtab_axon; echo ${COMPREPLY[0]}\n"
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "observe",
        "--sort",
        "private",
        "OPTIONS",
        "/etc/hostname",
        "audit",
    ]


ASKED = {
    "axon obs": "observe",
    "axon top --so": "--sort",
    "axon run --peers p": "private",
    "axon observe --method O": "OPTIONS",
    "axon run --routes /etc/hostna": "/etc/hostname",
    "axon policy mode au": "audit",
}
"""What is typed, and the last word when it is completed."""


def test_the_script_for_fish_completes() -> None:
    """A fish that has read the script completes the same."""
    script = run("completion", "fish").stdout
    for typed, word in ASKED.items():
        asked = ["fish", "--no-config", "-c", f"{script}\ncomplete -C '{typed}'"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [word], typed


@pytest.mark.parametrize(("typed", "word"), ASKED.items())
def test_the_script_for_zsh_completes(tmp_path: Path, typed: str, word: str) -> None:
    """A zsh that finds the script where the help says completes the same, on a terminal."""
    (tmp_path / "_axon").write_text(run("completion", "zsh").stdout)
    (tmp_path / ".zshrc").write_text(
        f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -D; axon() {{ print said: $@; }}\n"
        "PS1='ready '; unsetopt zle_bracketed_paste\n"
    )
    terminal = Terminal(
        ["/usr/bin/zsh", "--no-globalrcs", "-i"],
        {"ZDOTDIR": str(tmp_path), "TERM": "dumb", "PATH": os.environ["PATH"]},
    )
    until(lambda: terminal.shows(b"ready "), "the shell is ready")
    terminal.press(f"{typed}\t".encode())
    until(lambda: terminal.shows(f"{word} ".encode()), f"{word} is completed; {terminal.shown!r}")
    terminal.press(b"\r")
    until(lambda: terminal.shows(b"said: "), "the command is run")
    terminal.press(b"exit\r")
    assert terminal.status() == 0
    said = re.search(rb"said: (.*?)\r", terminal.shown)
    assert said, terminal.shown
    assert said[1].decode() == " ".join([*typed.split()[1:-1], word])


@pytest.mark.parametrize(("shell", "status"), [("/usr/bin/zsh", 0), ("/bin/nosh", 1), ("", 1)])
def test_the_shell_is_found(shell: str, status: int) -> None:
    """Without a name the script is for the user's shell; an unknown one is refused with the choices."""
    done = run("completion", SHELL=shell)
    assert done.returncode == status
    if status:
        assert "axon completion bash|zsh|fish" in done.stderr
    else:
        assert done.stdout.startswith("#compdef axon")


def test_no_option_has_two_meanings() -> None:
    """A flag that several verbs have takes the same kind of value in each."""
    for_all()
    seen: dict[str, tuple[str, object]] = {}
    for verb in VERBS:
        for action in for_verb(verb)._actions:
            for option in action.option_strings:
                before = seen.setdefault(option, (verb, action.nargs))
                assert before[1] == action.nargs, (option, verb, before[0])

"""A guest is booted again until its command begins, and KVM is taken where it works: a script is the emulator."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kernels import accelerator, guest
from tests.kernels.errors import GuestError
from tests.kernels.guest import Setup
from tests.kernels.image import Image

_FILES = """#!/bin/sh
touch "${1#--socket-path=}"
exec sleep 300
"""
_EMULATOR = """#!/bin/sh
place=$(dirname "$0")
echo "$*" >>"$place/boots"
boot=$(wc -l <"$place/boots")
for word in $*; do
    case $word in axon_run=*) run=${word#axon_run=} ;; esac
done
panic() { echo "Kernel panic - not syncing: boot $boot" >"$run/console"; exit; }
begin() { touch "$run/started"; }
end() { echo "$1" >"$run/part"; mv "$run/part" "$run/status"; exit; }
"""


class Emulator:
    """A script in place of QEMU."""

    def __init__(self, place: Path) -> None:
        self._boots = place / "boots"
        self._program = place / "qemu-system-x86_64"
        self.image = Image("6.1.0", "amd64", place / "k", place / "m", place / "i", Path("/"))
        self.output = b""

    def does(self, script: str) -> None:
        """Have each boot do this: `panic`, `begin`, `end STATUS`; $boot is its number."""
        self._program.write_text(_EMULATOR + script)
        self._program.chmod(0o755)

    @property
    def boots(self) -> list[str]:
        """The command line of each boot."""
        return self._boots.read_text().splitlines() if self._boots.exists() else []

    def run(self, **setup: float) -> guest.Result:
        """Run a command."""
        return guest.run(
            self.image,
            ["true"],
            setup=Setup(**setup),  # type: ignore[arg-type]
            environment={},
            timeout=20,
            output=self._write,
        )

    def _write(self, data: bytes) -> None:
        self.output += data


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Give an emulator, and what hands files to its guests."""
    files = tmp_path / "virtiofsd"
    files.write_text(_FILES)
    files.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(guest, "VIRTIOFSD", (files,))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return Emulator(tmp_path)


def test_a_panic_before_the_command(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """The guest is booted again, which is told with the reason; the command's status and output are its own."""
    emulator.does('[ "$boot" -lt 3 ] && panic; begin; echo said; end 3')
    result = emulator.run()
    assert (result.status, result.boots, len(emulator.boots)) == (3, 3, 3)
    assert emulator.output == b"said\n"
    assert capsys.readouterr().err.splitlines() == [
        f"6.1.0: boot {n} failed: Kernel panic - not syncing: boot {n}" for n in (1, 2)
    ]


def test_a_guest_that_hangs_before_the_command(emulator: Emulator) -> None:
    """It is ended and booted again."""
    emulator.does('[ "$boot" = 1 ] && exec sleep 300; begin; end 0')
    assert emulator.run(boot_seconds=3.0).boots == 2


def test_a_guest_that_never_boots(emulator: Emulator) -> None:
    """After four boots there is no other."""
    emulator.does("panic")
    with pytest.raises(GuestError, match=r"6\.1\.0 did not boot in 4 tries"):
        emulator.run()
    assert len(emulator.boots) == 4


@pytest.mark.parametrize("failure", ["begin; end 1", "begin; sleep 0.2; panic"])
def test_nothing_is_repeated_that_has_begun(emulator: Emulator, failure: str) -> None:
    """A command that fails has failed, and so has one whose guest panics."""
    emulator.does(failure)
    if "panic" in failure:
        with pytest.raises(GuestError, match="Kernel panic"):
            emulator.run()
    else:
        assert emulator.run().status == 1
    assert len(emulator.boots) == 1


@pytest.fixture
def kvm(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Give an emulator on a machine that has /dev/kvm."""
    for name, text in (("kvm", ""), ("boot_id", "first\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("AXON_KERNELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(accelerator, "KVM", tmp_path / "kvm")
    monkeypatch.setattr(accelerator, "BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return emulator


@pytest.mark.parametrize(
    ("does", "chosen"),
    [
        ("begin; end 0", "kvm"),
        ("panic", "tcg"),
        ("begin; end 1", "tcg"),
        ("exec sleep 300", "tcg"),
        ("begin; exec sleep 300", "tcg"),
    ],
)
def test_kvm_is_tried_once_a_boot(
    kvm: Emulator,
    tmp_path: Path,
    does: str,
    chosen: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is taken if a guest comes to its end with it; what came of the trial holds until this machine boots."""
    kvm.does(does)
    monkeypatch.setattr(accelerator, "TRIAL_SECONDS", 0.5 if "sleep" in does else 20.0)
    assert [accelerator.choose(kvm.image) for _ in range(3)] == [chosen] * 3
    (line,) = kvm.boots
    assert "-accel kvm" in line
    (tmp_path / "boot_id").write_text("second\n")
    monkeypatch.setattr(accelerator, "TRIAL_SECONDS", 20.0)
    kvm.does("begin; end 0" if chosen == "tcg" else "panic")
    assert accelerator.choose(kvm.image) == ("kvm" if chosen == "tcg" else "tcg")
    assert len(kvm.boots) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["accelerator-second"]
    assert capsys.readouterr().err == ""


def test_where_kvm_is_not_tried(kvm: Emulator, tmp_path: Path) -> None:
    """A guest of another architecture, and a machine without /dev/kvm, are emulated without a trial."""
    kvm.does("begin; end 0")
    other = Image("6.1.0", "arm64", tmp_path / "k", tmp_path / "m", tmp_path / "i", Path("/"))
    assert accelerator.choose(other) == "tcg"
    (tmp_path / "kvm").unlink()
    assert accelerator.choose(kvm.image) == "tcg"
    assert kvm.boots == []

"""The wheel is what people install: it needs no compiler, and carries the kernel programs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from axon import __version__

ROOT = Path(__file__).resolve().parents[2]
OBJECT = "axon/kernel/axon.bpf.o"


def _build(source: Path, into: Path, kind: str) -> Path:
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        kind,
        "--outdir",
        str(into),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from the tree."""
    return _build(ROOT, tmp_path_factory.mktemp("sdist"), "--sdist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    return _build(ROOT, tmp_path_factory.mktemp("wheel"), "--wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment that the wheel was installed into.

    Its dependencies are those of the environment that runs the tests: they are put on its path, from
    where an editable install is not found.
    """
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, "--quiet", str(wheel)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def _axon(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "axon"), *arguments],
        env={"PATH": str(installed), "HOME": "/nonexistent"},  # no compiler, no tool but its own
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_wheel_carries_the_kernel_programs(wheel: Path) -> None:
    """The wheel holds the compiled object, the types marker and the licence, for every platform."""
    assert wheel.name == f"axon-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read(OBJECT)[:4] == b"\x7fELF"
    assert "axon/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [
        name for name in names if not name.startswith(("axon/", f"axon-{__version__}.dist-info/"))
    ]


def test_wheel_of_the_sdist_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    """A wheel built from the sdist, where no compiler is at hand, holds the same files."""
    subprocess.run(["tar", "xf", str(sdist), "-C", str(tmp_path)], check=True)
    (source,) = tmp_path.iterdir()
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        str(out),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, env={"PATH": str(tmp_path)})
    (again,) = out.iterdir()
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert {i.filename: i.CRC for i in one.infolist()} == {
            i.filename: i.CRC for i in other.infolist()
        }


def test_installed_command_tells_its_version(installed: Path) -> None:
    """`axon version` of an installed wheel names the package's version."""
    result = _axon(installed, "version")
    assert result.returncode == 0, result.stderr
    assert __version__ in result.stdout


def test_installed_doctor_needs_no_compiler(installed: Path) -> None:
    """`axon doctor` of an installed wheel reports without a compiler: as root that Axon can run here."""
    result = _axon(installed, "doctor")
    assert "Traceback" not in result.stderr
    assert result.stdout.strip()
    if os.geteuid() == 0:
        assert result.returncode == 0, result.stdout
    else:
        assert result.returncode != 0


def test_installed_package_is_not_the_tree(installed: Path) -> None:
    """The installed command runs the wheel's code and finds the programs inside its own package."""
    code = "import axon, pathlib; print(pathlib.Path(axon.__file__).parent)"
    where = subprocess.run(
        [str(installed / "python"), "-c", code], cwd="/", capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(where).is_relative_to(installed.parent)
    assert (Path(where) / "kernel" / "axon.bpf.o").is_file()

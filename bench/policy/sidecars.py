"""Proxies that judge by the same rules, each in front of the same server, on the server's CPU."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.policy import rules
from bench.world import SERVER_CPU, BenchError, listens, start

RULES = 100


def envoy_program() -> str:
    """Return Envoy's path: beside Python, where its package puts it, or on PATH."""
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise BenchError("not installed: envoy; `scripts/setup bench` installs it with pip")
    return found


@contextmanager
def _running(command: list[str], port: int, group: Path, home: Path) -> Iterator[None]:
    """Run one until it is to end; it listens when this yields."""
    said = home / "said"
    with said.open("w", encoding="utf-8") as out:
        process = start(command, cpu=SERVER_CPU, group=group, stdout=out, stderr=out)
    try:
        if not listens(process, port):
            raise BenchError(
                f"{command[0]} ended at once: {said.read_text(encoding='utf-8')[-500:]}"
            )
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def nginx(group: Path, port: int, upstream: int) -> Iterator[None]:
    """Judge by a `map` of nginx."""
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as folder:
        conf = Path(folder) / "nginx.conf"
        conf.write_text(rules.nginx(port, upstream, RULES, folder), encoding="utf-8")
        command = ["nginx", "-c", str(conf), "-g", "user root;"]
        with _running(command, port, group, Path(folder)):
            yield


@contextmanager
def haproxy(group: Path, port: int, upstream: int) -> Iterator[None]:
    """Judge by access lists of HAProxy."""
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as folder:
        for name, text in rules.haproxy(port, upstream, RULES, folder).items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        command = ["haproxy", "-db", "-q", "-f", f"{folder}/haproxy.cfg"]
        with _running(command, port, group, Path(folder)):
            yield


@contextmanager
def envoy(group: Path, port: int, upstream: int) -> Iterator[None]:
    """Judge by Envoy's RBAC, with one worker."""
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as folder:
        conf = Path(folder) / "envoy.json"
        conf.write_text(rules.envoy(port, upstream, RULES), encoding="utf-8")
        command = [
            envoy_program(), "-c", str(conf), "--concurrency", "1", "--disable-hot-restart", "-l", "error",
        ]  # fmt: skip
        with _running(command, port, group, Path(folder)):
            yield


SIDECARS: Mapping[str, Callable[[Path, int, int], AbstractContextManager[None]]] = {
    "nginx `map`": nginx,
    "HAProxy": haproxy,
    "Envoy RBAC": envoy,
}

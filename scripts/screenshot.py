"""Take the README's picture: the live table over the sample shop, as docs/screenshot.svg. Needs root."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from axon import settings
from axon.agent import Agent
from axon.api.schema import Snapshot
from axon.kernel.system import cgroup_root
from axon.view.top import TopApp
from demo.shop import open_shop
from scripts.docs import ROOT

PICTURE = ROOT / "docs" / "screenshot.svg"
COLUMNS = 118
LINES = 24


@contextlib.contextmanager
def _own_cgroup() -> Iterator[Path]:
    """Put this process, and what it starts, into a cgroup that nobody else is in."""
    above = cgroup_root()
    before = above / Path("/proc/self/cgroup").read_text().split("0::/", 1)[1].splitlines()[0]
    own = above / f"axon-screenshot-{os.getpid()}"
    own.mkdir()
    try:
        (own / "cgroup.procs").write_text(str(os.getpid()))
        yield own
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))
        own.rmdir()


async def _picture(seconds: float, cgroup: Path, run_dir: str) -> str:
    flags = {
        "cgroup": str(cgroup),
        "pin_dir": f"/sys/fs/bpf/{cgroup.name}",
        "run_dir": run_dir,
        "metrics_listen": "off",
    }
    async with Agent(settings.load(flags=flags)) as agent:

        async def source() -> Snapshot:
            return agent.shown()

        await asyncio.sleep(seconds)
        app = TopApp(source)
        async with app.run_test(size=(COLUMNS, LINES)) as pilot:
            await pilot.pause(2)
            return app.export_screenshot(title="axon top")


def main() -> int:
    """Let the shop run for a while, then draw the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the shop runs before")
    seconds = parser.parse_args().seconds
    with _own_cgroup() as cgroup, tempfile.TemporaryDirectory() as run_dir, open_shop():
        picture = asyncio.run(_picture(seconds, cgroup, run_dir))
    # The picture must not make its reader's browser fetch anything: any monospace font will do.
    picture = re.sub(r"@font-face\s*\{[^}]*\}\s*", "", picture)
    PICTURE.write_text(picture, encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

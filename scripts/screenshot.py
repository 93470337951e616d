"""Take the README's picture: the live table over the sample shop, as docs/screenshot.svg. Needs root."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time

from axon import settings
from axon.api.client import Client
from axon.api.schema import Snapshot
from axon.errors import ApiError
from axon.view.top import TopApp
from demo.process import stop
from demo.shop import open_shop
from demo.watch import start_agent
from scripts.docs import ROOT

PICTURE = ROOT / "docs" / "screenshot.svg"
COLUMNS = 118
LINES = 22
START_S = 20.0  # the agent loads, attaches and answers within this


def _wait_for(agent: Client) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            agent.snapshot()
        except ApiError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


async def _picture(agent: Client) -> str:
    async def source() -> Snapshot:
        return await asyncio.to_thread(agent.snapshot)

    app = TopApp(source)
    async with app.run_test(size=(COLUMNS, LINES)) as pilot:
        await pilot.pause(2)
        return app.export_screenshot(title="axon top")


def main() -> int:
    """Let the shop run for a while, then draw the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the shop runs before")
    seconds = parser.parse_args().seconds
    agent = Client(settings.load().socket)
    with open_shop():
        process = start_agent()
        try:
            _wait_for(agent)
            time.sleep(seconds)
            picture = asyncio.run(_picture(agent))
        finally:
            stop(process, patience_s=15)
    # The picture must not make its reader's browser fetch anything: any monospace font will do.
    picture = re.sub(r"@font-face\s*\{[^}]*\}\s*", "", picture)
    PICTURE.write_text(picture, encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

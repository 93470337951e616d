"""Take the README's picture: the live table over the sample shop, as docs/screenshot.svg. Needs root."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys

from axon import settings
from axon.agent import Agent
from axon.api.schema import Snapshot
from axon.view.top import TopApp
from demo.shop import open_shop
from scripts.docs import ROOT

PICTURE = ROOT / "docs" / "screenshot.svg"
COLUMNS = 118
LINES = 24


async def _picture(seconds: float) -> str:
    async with Agent(settings.load()) as agent:

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
    with open_shop():
        picture = asyncio.run(_picture(seconds))
    # The picture must not make its reader's browser fetch anything: any monospace font will do.
    picture = re.sub(r"@font-face\s*\{[^}]*\}\s*", "", picture)
    PICTURE.write_text(picture, encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

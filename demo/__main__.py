"""`python -m demo`: the sample shop with `axon run` beside it; `python -m demo PART` is one of its processes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

from demo import edge, services, visitors, watch
from demo.ports import Ports
from demo.process import become


async def _until_terminated(part: str, ports: Ports, entrance: int) -> None:
    work = visitors.visit(entrance) if part == "visitors" else services.serve(part, ports)
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["edge", *services.SERVICES, "visitors"])
    parser.add_argument("--ports", type=lambda text: Ports(*map(int, text.split(","))))
    parser.add_argument("--parent", type=int)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--entrance", type=int)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="how long to watch where there is no terminal"
    )
    parser.add_argument(
        "--began", type=float, default=time.time(), help="when the command was given, in Unix time"
    )
    return parser.parse_args()


def main() -> int:
    """Run the part that was named, or the whole."""
    args = _parse()
    if args.part is None:
        return watch.watch(args.seconds, args.began)
    become(f"shop-{args.part}", args.parent)
    if args.part == "edge":
        edge.run_nginx(args.ports, args.scratch)
    asyncio.run(_until_terminated(args.part, args.ports, args.entrance))
    return 0


if __name__ == "__main__":
    sys.exit(main())

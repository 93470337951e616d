"""The shop's visitors: a paced load, bounded in rate, in concurrency and in time."""

from __future__ import annotations

import asyncio
import random
import time
import uuid

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from demo.ports import HOST
from demo.services import PRODUCTS

RATE = 40.0  # requests a second
CONCURRENT = 64
LIMIT_S = 3600.0

_ACTIONS = ("home", "product", "missing", "search", "cart", "checkout", "order", "asset")
_WEIGHTS = (15, 38, 2, 8, 12, 7, 8, 10)


def _target(action: str) -> tuple[str, str]:
    """The method and the path of one visit."""
    match action:
        case "product":
            return "GET", f"/products/{random.randint(1, PRODUCTS)}"
        case "missing":
            return "GET", f"/products/{random.randint(PRODUCTS + 1, 9999)}"
        case "search":
            return "GET", f"/search?q={uuid.uuid4().hex[:6]}"
        case "cart":
            return "PUT", f"/users/{random.randint(1, 5000)}/cart"
        case "checkout":
            return "POST", "/checkout"
        case "order":
            return "GET", f"/orders/{uuid.uuid4()}"
        case "asset":
            return "GET", random.choice(("/assets/shop.js", "/assets/shop.css"))
        case _:
            return "GET", "/"


async def _visit(session: ClientSession, base: str) -> None:
    method, path = _target(random.choices(_ACTIONS, _WEIGHTS)[0])
    data = b"item=1&count=2" if method in {"PUT", "POST"} else None
    try:
        async with session.request(method, base + path, data=data) as answer:
            await answer.read()
    except (ClientError, TimeoutError):
        pass  # visitors do not mind; what failed is what the table is there to show


async def visit(port: int, rate: float = RATE, limit_s: float = LIMIT_S) -> None:
    """Send `rate` requests a second at random moments to 127.0.0.1:`port` for at most `limit_s` seconds.

    A visit that finds `CONCURRENT` others under way is left out, so a stuck shop meets no queue.
    """
    base = f"http://{HOST}:{port}"
    end = due = time.monotonic()
    end += limit_s
    visits: set[asyncio.Task[None]] = set()
    async with ClientSession(
        connector=TCPConnector(limit=CONCURRENT), timeout=ClientTimeout(total=10)
    ) as session:
        while due < end:
            due += random.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(visits) < CONCURRENT:
                task = asyncio.create_task(_visit(session, base))
                visits.add(task)
                task.add_done_callback(visits.discard)
        await asyncio.gather(*visits)

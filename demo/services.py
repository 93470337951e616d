"""The shop's services: a frontend, and the three that it calls."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

from aiohttp import ClientError, ClientSession, TCPConnector, web

from demo.ports import HOST, Ports

PRODUCTS = 400
_PORTS = web.AppKey("ports", Ports)
_CLIENT = web.AppKey("client", ClientSession)


async def _work(median_ms: float, spread: float = 0.4) -> None:
    """Take as long as real work would: log-normal around `median_ms`."""
    await asyncio.sleep(random.lognormvariate(0, spread) * median_ms / 1000)


# --- catalog ---------------------------------------------------------------------------------------


async def _product(request: web.Request) -> web.Response:
    await _work(2)
    number = int(request.match_info["id"])
    if number > PRODUCTS:
        raise web.HTTPNotFound
    return web.json_response(
        {"id": number, "name": f"Product {number}", "text": "lorem ipsum " * 40}
    )


async def _products(_: web.Request) -> web.Response:
    await _work(5)
    return web.json_response([{"id": i, "name": f"Product {i}"} for i in range(1, 41)])


async def _search(_: web.Request) -> web.Response:
    await _work(120, spread=0.8)
    return web.json_response({"found": random.sample(range(1, PRODUCTS), 12)})


def catalog(_: Ports) -> web.Application:
    """Products; its search is slow."""
    app = web.Application()
    app.router.add_get("/api/products", _products)
    app.router.add_get(r"/api/products/{id:\d+}", _product)
    app.router.add_get("/api/search", _search)
    return app


# --- payments --------------------------------------------------------------------------------------


async def _charge(request: web.Request, number: int) -> web.StreamResponse:
    await request.read()
    await _work(35, spread=0.6)
    if not number % 50:  # a crash: the connection ends without a response
        if request.transport:
            request.transport.abort()
        return web.Response()
    if not number % 15:
        raise web.HTTPServiceUnavailable(text="the bank does not answer")
    return web.json_response({"charge": str(uuid.uuid4())}, status=201)


def payments(_: Ports) -> web.Application:
    """Charges cards; refuses every fifteenth and crashes on every fiftieth, so that it is seen."""
    app = web.Application()
    numbers = count(1)

    async def charge(request: web.Request) -> web.StreamResponse:
        return await _charge(request, next(numbers))

    app.router.add_post("/api/charges", charge)
    return app


# --- orders ----------------------------------------------------------------------------------------


async def _new_order(request: web.Request) -> web.Response:
    order = await request.json()
    await _work(4)
    url = f"http://{HOST}:{request.app[_PORTS].payments}/api/charges"
    try:
        async with request.app[_CLIENT].post(url, json={"amount": order["amount"]}) as answer:
            await answer.read()
            paid = answer.status == web.HTTPCreated.status_code
    except ClientError:
        paid = False
    if not paid:
        raise web.HTTPBadGateway(text="not paid")
    return web.json_response({"order": str(uuid.uuid4())}, status=201)


async def _order(request: web.Request) -> web.Response:
    await _work(6)
    return web.json_response({"order": request.match_info["id"], "state": "packed"})


def orders(ports: Ports) -> web.Application:
    """Takes orders and has them paid."""
    app = _calling(ports)
    app.router.add_post("/api/orders", _new_order)
    app.router.add_get("/api/orders/{id}", _order)
    return app


# --- frontend --------------------------------------------------------------------------------------


async def _relay(
    request: web.Request, method: str, port: int, path: str, body: object = None
) -> web.Response:
    """Pass a backend's answer on, as a page would that is made from it."""
    async with request.app[_CLIENT].request(
        method, f"http://{HOST}:{port}{path}", json=body
    ) as answer:
        return web.Response(
            body=await answer.read(), status=answer.status, content_type="application/json"
        )


async def _home(request: web.Request) -> web.Response:
    return await _relay(request, "GET", request.app[_PORTS].catalog, "/api/products")


async def _product_page(request: web.Request) -> web.Response:
    return await _relay(
        request, "GET", request.app[_PORTS].catalog, f"/api/products/{request.match_info['id']}"
    )


async def _search_page(request: web.Request) -> web.Response:
    return await _relay(
        request, "GET", request.app[_PORTS].catalog, f"/api/search?{request.query_string}"
    )


async def _checkout(request: web.Request) -> web.Response:
    await request.read()
    body = {"amount": random.randint(5, 500)}
    return await _relay(request, "POST", request.app[_PORTS].orders, "/api/orders", body)


async def _order_page(request: web.Request) -> web.Response:
    return await _relay(
        request, "GET", request.app[_PORTS].orders, f"/api/orders/{request.match_info['id']}"
    )


async def _cart(request: web.Request) -> web.Response:
    await request.read()
    await _work(1)
    return web.Response(status=204)


def frontend(ports: Ports) -> web.Application:
    """The pages that a visitor sees."""
    app = _calling(ports)
    app.router.add_get("/", _home)
    app.router.add_get(r"/products/{id:\d+}", _product_page)
    app.router.add_get("/search", _search_page)
    app.router.add_put(r"/users/{user:\d+}/cart", _cart)
    app.router.add_post("/checkout", _checkout)
    app.router.add_get("/orders/{id}", _order_page)
    return app


def _calling(ports: Ports) -> web.Application:
    """An application that calls others over connections it keeps."""
    app = web.Application()
    app[_PORTS] = ports

    async def client(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(connector=TCPConnector(limit=64)) as session:
            app[_CLIENT] = session
            yield

    app.cleanup_ctx.append(client)
    return app


SERVICES: dict[str, Callable[[Ports], web.Application]] = {
    "catalog": catalog,
    "payments": payments,
    "orders": orders,
    "frontend": frontend,
}


async def serve(name: str, ports: Ports) -> None:
    """Run one service until it is cancelled."""
    runner = web.AppRunner(SERVICES[name](ports), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, getattr(ports, name)).start()
        await _forever()
    finally:
        await runner.cleanup()


def _forever() -> Awaitable[None]:
    return asyncio.get_running_loop().create_future()

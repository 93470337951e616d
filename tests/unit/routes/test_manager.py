"""The kernel's tables under the manager: switched at once, learned, tidied, taken over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from axon.routes import NO_PATH, OTHER, RouteManager, parse
from axon.routes.tables import route_id
from tests.unit.routes.kernel import SECOND, RouteKernel
from tests.unit.snapshot.fake import KEY


def manager(kernel: RouteKernel, *texts: str, learn: bool = True) -> RouteManager:
    """Return a manager with these patterns."""
    return RouteManager(
        kernel, [parse(text) for text in texts], learn=learn, max_routes=1000, clock=kernel.clock
    )


def keys(
    kernel: RouteKernel, paths: Iterable[str], *, port: int = 80, status: int = 200
) -> NDArray[Any]:
    """Return the series that requests for these paths make."""
    rows = np.zeros(0, KEY)
    for path in paths:
        row = np.zeros(1, KEY)
        row["route"], row["port"], row["status"] = kernel.name(path.encode()), port, status
        rows = np.append(rows, row)
    return rows


def looked(routes: RouteManager, series: NDArray[Any]) -> None:
    """Have the manager look at series that are all new."""
    routes.update(series, series)


USERS = [f"/users/u-{i}-{i}/profile" for i in range(26)]


def test_patterns_are_in_use_from_the_start() -> None:
    """Requests are named by the most specific pattern, and the pattern is the route's text."""
    kernel = RouteKernel()
    routes = manager(kernel, "/users/{id}", "/users/me", "/static/**")
    assert routes.text(kernel.name(b"/users/anna")) == "/users/{id}"
    assert routes.text(kernel.name(b"/users/me")) == "/users/me"
    assert routes.text(kernel.name(b"/static/a/b.css")) == "/static/**"
    assert routes.text(kernel.name(b"/other")) == "/other"
    assert kernel.ctl["route_serial"] == 1


def test_fixed_routes_have_texts() -> None:
    """`other` and requests without a path are named without asking the kernel."""
    routes = manager(RouteKernel())
    assert (routes.text(0), routes.text(1)) == (OTHER, NO_PATH)
    assert routes.text(999) == OTHER


def test_a_switch_is_made_in_order() -> None:
    """Texts first, then a wait for running programs, then the unused set; one store switches."""
    kernel = RouteKernel()
    manager(kernel, "/a/{x}", "/b")
    assert kernel.log == ["put /b", "put /a/{x}", "wait", "write 1"]
    assert kernel.ctl["route_set"] == 1


def test_templates_are_learned_and_used() -> None:
    """After 26 users their routes become one, and the former ones are superseded."""
    kernel = RouteKernel()
    routes = manager(kernel)
    before = keys(kernel, [*USERS, "/about"])
    looked(routes, before)
    assert routes.text(kernel.name(b"/users/somebody/profile")) == "/users/{*}/profile"
    assert routes.superseded(before).tolist() == [True] * 26 + [False]
    after = keys(kernel, ["/users/somebody/profile"])
    assert not routes.superseded(after).any()


def test_a_half_read_head_cannot_keep_an_old_route() -> None:
    """A look after a switch the serial number is raised once more, and then left alone."""
    kernel = RouteKernel()
    routes = manager(kernel, "/a/{x}")
    none = keys(kernel, [])
    serials = []
    for _ in range(3):
        looked(routes, none)
        serials.append(int(kernel.ctl["route_serial"][0]))
    assert serials == [2, 2, 2]


def test_a_users_pattern_goes_before_a_learned_one() -> None:
    """What the user has named is never named otherwise by learning."""
    kernel = RouteKernel()
    routes = manager(kernel, "/users/**")
    looked(routes, keys(kernel, USERS))
    assert routes.text(kernel.name(b"/users/somebody/profile")) == "/users/**"
    kernel = RouteKernel()
    routes = manager(kernel, "/users/{name}/profile", "/x")
    looked(routes, keys(kernel, USERS))
    assert routes.text(kernel.name(b"/users/somebody/profile")) == "/users/{name}/profile"


def test_shielded_names_are_left_to_the_kernel() -> None:
    """A shield has the route 0, so the kernel names the path as it did before."""
    kernel = RouteKernel()
    routes = manager(kernel)
    own = kernel.name(b"/users/me/profile")
    looked(routes, keys(kernel, ["/users/me/profile", *USERS]))
    assert kernel.name(b"/users/me/profile") == own
    assert routes.text(own) == "/users/me/profile"
    assert routes.text(kernel.name(b"/users/you/profile")) == "/users/{*}/profile"


def test_nothing_is_learned_from_paths_that_are_not_there() -> None:
    """A scan that meets only 404 teaches nothing."""
    kernel = RouteKernel()
    routes = manager(kernel)
    looked(routes, keys(kernel, USERS, status=404))
    assert routes.text(kernel.name(b"/users/x/profile")) == "/users/x/profile"


def test_learning_can_be_switched_off() -> None:
    """Without learning only the user's patterns are used."""
    kernel = RouteKernel()
    routes = manager(kernel, "/a/{x}", learn=False)
    looked(routes, keys(kernel, USERS))
    assert routes.text(kernel.name(b"/users/x/profile")) == "/users/x/profile"
    assert routes.text(kernel.name(b"/a/x")) == "/a/{x}"


def test_a_restart_keeps_what_was_learned() -> None:
    """Another agent on the same maps goes on with the learned templates; a removed pattern is gone."""
    kernel = RouteKernel()
    first = manager(kernel, "/gone/{x}")
    looked(first, keys(kernel, USERS))
    old = kernel.name(b"/gone/x")
    again = manager(kernel, "/users/{user}/cart")
    assert again.text(kernel.name(b"/users/x/profile")) == "/users/{*}/profile"
    assert again.text(kernel.name(b"/users/x/cart")) == "/users/{user}/cart"
    assert again.text(kernel.name(b"/gone/x")) == "/gone/x"
    series = keys(kernel, [])
    series.resize(1)
    series["route"] = old
    assert again.superseded(series).tolist() == [True]


def test_routes_that_nobody_has_are_forgotten() -> None:
    """Once old and without a series, a route's text leaves the kernel, but is still known here."""
    kernel = RouteKernel()
    routes = manager(kernel, "/p/{x}")
    series = keys(kernel, ["/kept", "/gone"])
    gone = int(series["route"][1])
    looked(routes, series)
    serial = int(kernel.ctl["route_serial"][0])
    kernel.now += 61 * SECOND
    routes.update(series[:1], series[:0])
    assert {text for _, text, _ in kernel.routes()} == {b"/kept", b"/p/{x}"}
    assert routes.text(gone) == "/gone"
    assert kernel.ctl["route_serial"] > serial


def test_young_routes_are_not_forgotten() -> None:
    """A route whose series was not seen yet stays."""
    kernel = RouteKernel()
    routes = manager(kernel)
    kernel.now += 40 * SECOND
    kernel.name(b"/young")
    looked(routes, keys(kernel, []))
    assert len(kernel.table) == 1


def test_texts_of_forgotten_routes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of routes that are gone does not grow without bound; the oldest go first."""
    monkeypatch.setattr("axon.routes.manager._REMEMBERED", 5)
    kernel = RouteKernel()
    routes = manager(kernel, learn=False)
    names = [kernel.name(f"/r{i}".encode()) for i in range(20)]
    for name in names:
        routes.text(name)
    kernel.now += 61 * SECOND
    looked(routes, keys(kernel, []))
    assert [routes.text(name) for name in names] == [OTHER] * 15 + [f"/r{i}" for i in range(15, 20)]


def test_a_full_table_of_routes_is_told() -> None:
    """If the kernel takes no more routes, the former patterns stay in use and health says why."""
    kernel = RouteKernel(max_routes=27)
    routes = manager(kernel)
    series = keys(kernel, [*USERS, "/a"])
    looked(routes, series)
    assert "fewer patterns" in (routes.problem or "")
    assert kernel.matched(b"/users/x/profile") == 0
    kernel.now += 61 * SECOND
    routes.update(series[:20], series[:0])
    assert not routes.problem
    assert kernel.matched(b"/users/x/profile") == route_id("/users/{*}/profile")


def test_more_templates_than_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all places taken by the user's patterns, learned ones wait; nothing breaks."""
    monkeypatch.setattr("axon.routes.manager.MOST", 3)
    kernel = RouteKernel()
    routes = manager(kernel, "/a/{x}", "/b/{x}", "/c/{x}")
    looked(routes, keys(kernel, USERS))
    assert kernel.matched(b"/users/x/profile") == 0
    assert kernel.matched(b"/c/x") == route_id("/c/{x}")
    assert routes.problem is None

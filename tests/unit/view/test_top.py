"""The live table on terminals of several sizes, and its keys."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from axon.api.schema import Snapshot
from axon.errors import ApiError
from axon.view import palette
from axon.view.help import HelpScreen
from axon.view.top import TopApp
from tests.unit.view import samples

_PATIENCE = 30  # seconds; a machine under load takes some
SCREENS = Path(__file__).with_name("screens")


async def source() -> Snapshot:
    """Return the same snapshot every time."""
    return samples.snapshot()


def drawn(app: App[Any]) -> list[str]:
    """Return the lines that are on the screen."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def services(app: TopApp, rows: int) -> list[str]:
    """Return the services of the first rows."""
    return [line.split()[0] for line in drawn(app)[2 : 2 + rows] if line.split()]


def colour_of(app: TopApp, text: str) -> str:
    """Return the colour in which a text is drawn."""
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            if text in segment.text and segment.style and segment.style.color:
                return segment.style.color.name
    raise AssertionError(f"{text!r} is not on the screen")


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait until something is so, or fail."""
    deadline = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < deadline, "\n".join(drawn(pilot.app))
        await pilot.pause(0.02)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until there is a picture, as far as there is room for one, and it stays as it is."""
    before: list[str] = []
    deadline = time.monotonic() + _PATIENCE
    room = pilot.app.size.height > 1
    while (lines := drawn(pilot.app)) != before or (room and not any(lines)):
        assert time.monotonic() < deadline, "\n".join(lines)
        before = lines
        await pilot.pause(0.1)


def hold_against(name: str, lines: list[str]) -> None:
    """Compare a screen with the one kept in `screens`; AXON_WRITE_SCREENS=1 writes it anew."""
    path = SCREENS / f"{name}.txt"
    shown = "\n".join(lines) + "\n"
    if os.environ.get("AXON_WRITE_SCREENS"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 30), (200, 50)])
async def test_the_table_looks_right(size: tuple[int, int]) -> None:
    """The screen is the one that was looked at and kept, at each size of terminal."""
    app = TopApp(source)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        hold_against(f"top-{size[0]}x{size[1]}", drawn(app))


async def test_the_help_fits_a_small_terminal() -> None:
    """The page of keys and columns is whole in 80 columns, and any of its keys closes it."""
    app = TopApp(source)
    async with app.run_test(size=(80, 30)) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await settle(pilot)
        hold_against("help-80x30", drawn(app))
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpScreen)


async def test_no_line_is_wider_than_the_terminal() -> None:
    """At any width, also while there are more rows than lines, nothing is cut off on the right."""
    rows = [samples.endpoint(route=f"/{i}", service="s" * 60) for i in range(100)]

    async def many() -> Snapshot:
        return samples.snapshot(endpoints=rows)

    for width in (40, 66, 80, 99, 119, 120, 131, 200):
        app = TopApp(many)
        async with app.run_test(size=(width, 24)) as pilot:
            await settle(pilot)
            strips = app.screen._compositor.render_strips()
            assert {strip.cell_length for strip in strips} == {width}
            assert all(strip.text[width - 1] in " ▁▂▃▄▅▆▇█" for strip in strips[1:-2])


@pytest.mark.parametrize("size", [(1, 1), (10, 3), (20, 5), (500, 4)])
async def test_no_terminal_is_too_small(size: tuple[int, int]) -> None:
    """Where there is hardly any room there is hardly anything to see, but nothing breaks."""
    app = TopApp(source)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert {strip.cell_length for strip in app.screen._compositor.render_strips()} == {size[0]}


async def seconds_a_picture(app: TopApp, pilot: Pilot[None]) -> float:
    """Return the processor time of drawing everything once: the least of several times."""
    times = []
    for _ in range(8):
        before = time.process_time()
        app._paint()
        await pilot.pause()
        times.append(time.process_time() - before)
    return min(times)


async def test_a_picture_is_cheap() -> None:
    """Sixty rows once a second cost less than a fiftieth of a core."""
    rows = [samples.endpoint(route=f"/r{i}/{{id}}", error_rate=float(i % 2)) for i in range(60)]

    async def source_of_sixty() -> Snapshot:
        return samples.snapshot(endpoints=rows)

    app = TopApp(source_of_sixty, tick=3600)
    async with app.run_test(size=(200, 65)) as pilot:
        await settle(pilot)
        assert await seconds_a_picture(app, pilot) < 0.02


async def test_ten_thousand_endpoints() -> None:
    """A picture of ten thousand rows is drawn within a fifth of a second, and can be scrolled."""
    rows = [samples.endpoint(route=f"/r{i:05d}", rate=float(i)) for i in range(10_000)]
    many = samples.snapshot(endpoints=rows)

    async def source_of_many() -> Snapshot:
        return many

    app = TopApp(source_of_many, tick=3600)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert await seconds_a_picture(app, pilot) < 0.2
        await pilot.press("end")
        await until(pilot, lambda: drawn(app)[-3].split()[2:3] == ["/r00000"])


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("s", "docker:orders"),
        ("S", "nginx"),
        ("r", "python3"),
        ("e", "docker:web"),
        ("o", "docker:web"),
    ],
)
async def test_keys_change_what_is_first(key: str, first: str) -> None:
    """Keys sort by the next or previous column, reverse, keep errors only, and turn to calls out."""
    app = TopApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press(key)
        await until(pilot, lambda: drawn(app)[2].strip().startswith(first))


async def test_a_filter_is_applied_as_one_types() -> None:
    """The key / opens a line; what is typed filters at once; Enter keeps it and Escape drops it."""
    app = TopApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"docker !web q")
        await until(pilot, lambda: app.filter_text == "docker !web q")
        await pilot.press("backspace", "backspace", "enter")
        await until(pilot, lambda: services(app, 2) == ["docker:orders"] * 2)
        assert "/docker !web" in drawn(app)[0]
        await pilot.press("escape")
        await until(pilot, lambda: services(app, 1) == ["nginx.service"])


async def test_a_pause_holds_the_picture() -> None:
    """While paused nothing new is asked for, and the first line says so."""
    asked = 0

    async def counting() -> Snapshot:
        nonlocal asked
        asked += 1
        return samples.snapshot()

    app = TopApp(counting, tick=0.05)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "paused" in drawn(app)[0])
        await pilot.pause(0.1)
        before = asked
        await pilot.pause(0.3)
        assert asked == before > 0
        await pilot.press("p")
        await until(pilot, lambda: asked > before)


async def test_a_click_on_a_title_sorts() -> None:
    """A click on a title sorts by its column, a second one the other way round."""
    app = TopApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        at = drawn(app)[1].index("P99")
        await pilot.click("EndpointTable", offset=(at, 0))
        assert (app.sorted_by, app.descending) == ("p99", True)
        await pilot.click("EndpointTable", offset=(at, 0))
        assert (app.sorted_by, app.descending) == ("p99", False)


async def test_colours_have_meanings() -> None:
    """A failing endpoint's share is red, an imperfect one's amber, a slow percentile amber too."""
    app = TopApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert colour_of(app, "25%") == palette.BAD
        assert colour_of(app, "0.4%") == palette.WARN
        assert colour_of(app, "1.7s") == palette.WARN
        assert colour_of(app, "{id}") == palette.ACCENT


@pytest.mark.parametrize("fails_from", [0, 1])
async def test_an_agent_that_does_not_answer(fails_from: int) -> None:
    """The reason stands below the table, which keeps its last numbers, until there are new ones."""
    asked, recovered = 0, False

    async def failing() -> Snapshot:
        nonlocal asked
        asked += 1
        if asked > fails_from and not recovered:
            raise ApiError("No agent answers at /run/axon/axon.sock. Start one: axon run")
        return samples.snapshot()

    app = TopApp(failing, tick=0.05)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No agent answers" in drawn(app)[-2])
        assert drawn(app)[2].startswith(" nginx" if fails_from else "")
        recovered = True
        await until(pilot, lambda: "1,234,567 requests" in drawn(app)[-2])


async def left_by(press: str) -> TopApp:
    """Return an application that was left by a key."""
    app = TopApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press(press)
    return app


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_it_can_be_left(key: str) -> None:
    """The keys q and Ctrl-C leave, with success."""
    app = await left_by(key)
    assert app.return_code == 0


async def test_paths_cannot_move_the_cursor() -> None:
    """Control characters in names from the network reach the screen only percent-encoded."""

    async def hostile() -> Snapshot:
        return samples.snapshot(endpoints=[samples.endpoint(route="/\x1b[2J\n", service="\x07")])

    app = TopApp(hostile)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "/%1B[2J%0A" in drawn(app)[2]
        assert "%07" in drawn(app)[2]

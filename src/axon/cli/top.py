"""`axon top`.

Rates, errors and percentiles are those of the last seconds (setting window_seconds). The table takes
as many columns as the terminal has room for; ? explains keys and columns.
"""

from __future__ import annotations

import argparse
import sys

from axon.cli.connect import add_agent, client
from axon.cli.parser import add_output
from axon.view.columns import BY_NAME, SORTABLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("--once", action="store_true", help="print the table once, as text")
    add_output(parser, "text", "json")
    add_table(parser)
    add_agent(parser)


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose and order rows."""
    parser.add_argument(
        "--sort", choices=SORTABLE, default="rate", metavar="COLUMN",
        help=f"{', '.join(SORTABLE)}; default rate",
    )  # fmt: skip
    parser.add_argument(
        "--filter", default="", metavar="WORDS",
        help="only rows with all these words in service, method or route; !word leaves out",
    )  # fmt: skip
    parser.add_argument(
        "--role", choices=("server", "client"), default="server",
        help="requests that arrive here (server, the default) or leave from here (client)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Show the table until somebody leaves it, or print it once."""
    if arguments.once or arguments.output == "json" or not sys.stdout.isatty():
        return print_once(arguments)
    import asyncio

    from axon.api.schema import Snapshot
    from axon.view.top import TopApp

    agent = client(arguments)
    agent.snapshot()  # a wrong socket is better said before the screen changes

    async def source() -> Snapshot:
        return await asyncio.to_thread(agent.snapshot)

    TopApp(source, sorted_by=arguments.sort, text=arguments.filter, role=arguments.role).run()
    return 0


def print_once(arguments: argparse.Namespace) -> int:
    """Print the table, or with `--output json` the snapshot that it is made of."""
    import shutil

    import msgspec

    from axon.view import plain
    from axon.view.columns import sort_rows
    from axon.view.rows import select

    snapshot = client(arguments).snapshot()
    rows = sort_rows(
        select(snapshot.endpoints, role=arguments.role, text=arguments.filter),
        arguments.sort,
        descending=BY_NAME[arguments.sort].numeric,
    )
    if arguments.output == "json":
        print(msgspec.json.encode(msgspec.structs.replace(snapshot, endpoints=rows)).decode())
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(plain.table(snapshot, rows, arguments.role, width), end="")
    return 0

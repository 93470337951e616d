"""The sample shop as a whole: opened, visited and closed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo import edge
from demo.ports import HOST, free_ports
from demo.process import child, wait_until_listening
from demo.services import SERVICES


@contextlib.contextmanager
def open_shop() -> Iterator[str]:
    """Keep every service and the visitors running for the body of the `with`; gives the shop's URL."""
    with contextlib.ExitStack() as shop:
        scratch = Path(shop.enter_context(tempfile.TemporaryDirectory(prefix="axon-demo-")))
        scratch.chmod(0o755)
        ports = free_ports()
        parts = [*SERVICES, "edge"] if edge.find_nginx() else [*SERVICES]
        for part in parts:
            process = shop.enter_context(child(part, ports, scratch))
            wait_until_listening(getattr(ports, part), process)
        entrance = ports.edge if "edge" in parts else ports.frontend
        shop.enter_context(child("visitors", ports, scratch, "--entrance", str(entrance)))
        yield f"http://{HOST}:{entrance}/"

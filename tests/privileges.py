"""How a test, run by root, runs a command as somebody without privileges."""

from __future__ import annotations

NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    # Nobody may read everything, so that the tests pass in a tree that only root may enter.
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)

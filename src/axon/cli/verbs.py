"""The verbs, in the order in which one meets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VERBS: Final[Mapping[str, str]] = {
    "run": "watch this host: the agent, with a live table on a terminal",
    "top": "rate, errors and latency of every endpoint, live",
    "observe": "requests as they happen, filtered in the kernel",
    "policy": "who may ask what: check, explain and test policies",
    "doctor": "what this kernel allows, and what cannot be seen here",
    "status": "is the agent well, what does it hold, what was lost",
    "config": "the settings in force and where each came from",
    "detach": "remove what Axon left in the kernel",
    "version": "the version",
    "completion": "completion for bash, zsh or fish",
}

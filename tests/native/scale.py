"""How long to look: AXON_NATIVE_SCALE=20 tries twenty times as much as the suite does by itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import settings

SCALE = float(os.environ.get("AXON_NATIVE_SCALE", "1"))


def examples(n: int) -> Callable[[Any], Any]:
    """Let a property try `n` examples, times the scale."""
    return settings(max_examples=max(int(n * SCALE), 1))

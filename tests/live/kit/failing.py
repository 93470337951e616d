"""Having a step fail in the middle."""

from __future__ import annotations

import errno
from typing import Any

import pytest

_FULL = OSError(errno.ENOSPC, "No space left on device")


def fail_after(
    patch: pytest.MonkeyPatch,
    target: Any,
    name: str,
    calls: int,
    error: BaseException = _FULL,
) -> None:
    """Have the call of a number fail of a module's or class's function."""
    original, left = getattr(target, name), [calls]

    def fail(*args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise error
        return original(*args, **more)

    patch.setattr(target, name, fail)

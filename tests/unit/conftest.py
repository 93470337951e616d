"""What the tests of Python alone have in common."""

from __future__ import annotations

import tests.generated  # noqa: F401

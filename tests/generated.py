"""Tests of generated examples: importing this has them all do without a deadline.

A deadline for one example is a bound on the machine's load, not on the code.
"""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("axon", deadline=None)
hypothesis.settings.load_profile("axon")

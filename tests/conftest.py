"""What every test has in common."""

from __future__ import annotations

import hypothesis

# A deadline for one example is a bound on the machine's load, not on the code.
hypothesis.settings.register_profile("axon", deadline=None)
hypothesis.settings.load_profile("axon")

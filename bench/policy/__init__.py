"""What judging costs: allowed and denied requests beside other ways to do it, and nanoseconds by the number of rules."""

from __future__ import annotations

from bench.policy import allowed, denied, elsewhere, verdict

MEASURES = (allowed.measure, elsewhere.measure, denied.measure, verdict.measure)

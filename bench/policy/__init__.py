"""What judging costs: requests beside other ways to do it, nanoseconds by the number of rules, how long a change takes."""

from __future__ import annotations

from bench.policy import allowed, changes, denied, elsewhere, verdict

MEASURES = (allowed.measure, elsewhere.measure, denied.measure, verdict.measure, changes.measure)

"""What the agent makes of the process that it is."""

from __future__ import annotations

import resource

from axon.agent import process


def test_files_are_limited_by_the_hard_limit_alone() -> None:
    """The agent may open as many files as it is allowed to, and not only as many as it was given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        process.open_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""What can go wrong in a way the user can do something about.

    AxonError
    ├── SettingsError      a setting's value, name or file
    ├── KernelError        the kernel, its features or our privileges do not allow what was asked
    │   ├── LoadError      the kernel refused the programs; carries the verifier's log
    │   └── BusyError      another agent holds this pin directory
    ├── PolicyError        a policy says what it cannot mean, or policies exceed a bound
    └── ApiError           no agent answers, or it refused the request
        └── AbsentError    no agent is running there

Each message says what happened and what to do next. `main()` prints it and catches nothing else.
"""

from __future__ import annotations


class AxonError(Exception):
    """The root of the tree. The message is one sentence or more for a person."""


class SettingsError(AxonError):
    """A setting cannot be used."""


class KernelError(AxonError):
    """The kernel or our privileges do not allow what was asked."""


class LoadError(KernelError):
    """The kernel refused the programs.

    `log` is the verifier's, `path` the file it was kept in, or None.
    """

    def __init__(self, message: str, log: str = "", path: str | None = None) -> None:
        super().__init__(message)
        self.log = log
        self.path = path


class BusyError(KernelError):
    """Another agent runs on this pin directory."""


class PolicyError(AxonError):
    """A policy cannot be used, or policies together exceed a bound. None of them was applied."""


class ApiError(AxonError):
    """The agent's API does not answer, or refused the request."""


class AbsentError(ApiError):
    """No agent is running where one was looked for."""

"""Whether there is room for all that policies in force are about; else the log says so."""

from __future__ import annotations

from axon.log import get
from axon.policy.compiler.compile import Compiled

_log = get("policy")


class Room:
    """What comes into force, looked at each time."""

    def __init__(self) -> None:
        self._tight = False

    def look(self, compiled: Compiled, *, tight: bool) -> None:
        """Warn of what has no room. `tight`: these policies take more than half of policy_memory."""
        if tight and not self._tight:
            _log.warning(
                "the policies in force have grown with this host to more than half of policy_memory, and the "
                "next ones may find no room beside them: raise it and restart the agent"
            )
        self._tight = tight
        if compiled.left_out:
            _log.warning(
                "there are more cgroups than Axon has room for: who calls from the newest of those with the "
                "same labels is unknown, and allowed by no rule that asks for a caller",
                cgroups=compiled.left_out,
            )
        if compiled.unselected:
            _log.warning(
                "somebody has made more cgroups than Axon has room for: what serves in the newest of theirs "
                "is selected by command and port alone",
                cgroups=compiled.unselected,
            )

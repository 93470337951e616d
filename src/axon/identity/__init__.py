"""Who: systemd units, containers and processes behind cgroup ids, ports and addresses."""

from axon.identity.identity import Identity
from axon.identity.place import is_placed
from axon.identity.workload import UNKNOWN, Workload

__all__ = ["UNKNOWN", "Identity", "Workload", "is_placed"]

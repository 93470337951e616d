"""The kernel's side seen from Python: attach it, read it, steer it."""

from axon.kernel.abi import Abi
from axon.kernel.active import Active
from axon.kernel.features import Feature, Features, probe
from axon.kernel.loader import attach, detach_all, policy_mode, switch_policy_mode
from axon.kernel.object import load_abi
from axon.kernel.plane import Footprint, Kernel, ProgStat
from axon.kernel.ring import FlowRing

__all__ = [
    "Abi",
    "Active",
    "Feature",
    "Features",
    "FlowRing",
    "Footprint",
    "Kernel",
    "ProgStat",
    "attach",
    "detach_all",
    "load_abi",
    "policy_mode",
    "probe",
    "switch_policy_mode",
]

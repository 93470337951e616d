"""Who may ask what: policies, and what the kernel is given of them.

Files are read into `Policy` objects (`load_policies`, `Library`). From them a `Compiler` makes the
arrays that the kernel judges by, and `judge` says the same of one request with its reason.
"""

from axon.policy.arena import Arena, Placement
from axon.policy.compile import Bounds, Compiled, Compiler, Host, for_half, name_of
from axon.policy.image import Image, check
from axon.policy.judge import Caller, Decision, Request, Verdict, judge
from axon.policy.labels import Party
from axon.policy.load import Library, load_policies, parse_policies
from axon.policy.model import Mode, Policy, Rule, rules_of

__all__ = [
    "Arena",
    "Bounds",
    "Caller",
    "Compiled",
    "Compiler",
    "Decision",
    "Host",
    "Image",
    "Library",
    "Mode",
    "Party",
    "Placement",
    "Policy",
    "Request",
    "Rule",
    "Verdict",
    "check",
    "for_half",
    "judge",
    "load_policies",
    "name_of",
    "parse_policies",
    "rules_of",
]

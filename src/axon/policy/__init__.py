"""Who may ask what: policies, and what the kernel is given of them.

Files are read into `Policy` objects (`load_policies`, `Library`). From them a `Compiler` makes the
arrays that the kernel judges by, and `judge` says the same of one request with its reason.

  language  what a policy says                  files     text to policies, and back
  parties   who is on a host, who is meant      compiler  policies to the kernel's tables
  judging   one request, by the text            traffic   what was asked before

Only `enforcer`, which brings them into force, needs a kernel.
"""

from axon.policy.compiler.arena import Arena, Placement
from axon.policy.compiler.compile import Bounds, Compiled, Compiler, Host, for_half, name_of
from axon.policy.compiler.image import Image, check
from axon.policy.files.load import Library, load_policies, parse_policies
from axon.policy.judging.judge import Caller, Decision, Request, Verdict, judge
from axon.policy.language.labels import Party
from axon.policy.language.model import Mode, Policy, Rule, rules_of

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

"""How judged requests are told of, as the policies in force ask for it."""

from __future__ import annotations

from collections.abc import Mapping

from axon.kernel import Kernel
from axon.policy.compiler.compile import Compiled
from axon.policy.compiler.layout import HostMode
from axon.policy.language.labels import DERIVED, SERVICE, Party
from axon.policy.language.model import Mode


def tell_audited(kernel: Kernel, compiled: Compiled | None) -> None:
    """Have requests told of that pass though a policy would deny them, if there can be any."""
    policies = compiled.policies.values() if compiled else ()
    audits = any(policy.mode is Mode.AUDIT for policy in policies)
    kernel.ctl["audit"] = audits or kernel.gate.mode == HostMode.AUDIT


def callers(compiled: Compiled | None) -> Mapping[int, str]:
    """Return how callers are shown, by their number: by the user's labels, else by their service."""
    shown = {0: "unknown", 1: "world"}  # enum ax_ident
    for number, party in compiled.parties.items() if compiled else ():
        own = Party.of({k: v for k, v in party.labels.items() if k not in DERIVED})
        shown[number] = str(own) if own.pairs else party.labels.get(SERVICE, str(own))
    return shown

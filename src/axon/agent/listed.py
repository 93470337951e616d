"""The policies in force as the API gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from axon.agent.servers import Server
from axon.api import policy as api
from axon.policy.judging.judge import selects
from axon.policy.language.labels import COMMAND, PORT, SERVICE, Party
from axon.policy.language.model import Mode, Policy, rules_of

if TYPE_CHECKING:
    from axon.agent.policies import Policies
    from axon.policy.compiler.compile import Host


def listed(policies: Policies, servers: Iterable[Server]) -> list[api.Policy]:
    """Return every policy in force; `servers` are those that it may select."""
    if policies.compiled is None:
        return []
    known: dict[Party, set[str]] = {}
    for server in servers:
        known.setdefault(workload(policies.host, server), set()).add(server.service)
    verdicts = policies.verdicts()
    return [
        _one(one, verdicts.get(str(one), (0, 0, 0)), known)
        for one in sorted(policies.policies, key=lambda policy: policy.key)
    ]


def workload(host: Host, server: Server) -> Party:
    """Return the labels that policies see of a server."""
    base = host.cgroups.get(server.cgroup, host.unknown) or Party.of({})
    port = str(server.port)
    own = base.labels.get(SERVICE, f"{server.command}:{port}")
    party = host.given.workload(base, server.command, port)
    return party.with_labels({COMMAND: server.command, PORT: port, SERVICE: own})


def _one(
    policy: Policy, verdicts: tuple[int, int, int], known: dict[Party, set[str]]
) -> api.Policy:
    forwarded, audit, dropped = verdicts
    chosen = {name for party, names in known.items() if selects(policy, party) for name in names}
    return api.Policy(
        name=policy.name,
        namespace=policy.namespace,
        mode="audit" if policy.mode is Mode.AUDIT else "enforce",
        selector=str(policy.selector),
        rules=len(rules_of([policy])),
        workloads=sorted(chosen),
        forwarded=forwarded,
        audit=audit,
        dropped=dropped,
        file=policy.mark.file if policy.mark else "",
        line=policy.mark.line if policy.mark else 0,
        digest=policy.digest,
    )

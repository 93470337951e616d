"""Metrics of policies: what they decided, and why what was denied was."""

from __future__ import annotations

from collections.abc import Mapping

from axon.export.families import Family, Scalars
from axon.export.labels import NO_LABELS, Labels

_VERDICTS = ("forwarded", "audit", "dropped")


def families(
    verdicts: Mapping[str, tuple[int, int, int]], denials: Mapping[str, int]
) -> list[Family]:
    """Return the metrics. `verdicts` are counts of forwarded, audited and dropped requests by
    `namespace/name`; `denials` counts by reason.
    """
    labels, values = [], []
    for policy, counts in verdicts.items():
        namespace, _, name = policy.partition("/")
        for verdict, count in zip(_VERDICTS, counts, strict=True):
            labels.append(Labels(("policy", "namespace", "verdict"), (name, namespace, verdict)))
            values.append(count)
    return [
        Scalars(
            "axon_policy_verdicts",
            "Requests by what the policy that decided said.",
            "counter",
            labels,
            values,
        ),
        Scalars(
            "axon_policy_denials",
            "Packets and requests denied, by reason.",
            "counter",
            [Labels(("reason",), (reason,)) for reason in denials],
            list(denials.values()),
        ),
    ]


def watch(
    states: Mapping[str, int],
    repairs: Mapping[str, int],
    ended: Mapping[str, int],
    *,
    current: bool,
) -> list[Family]:
    """Return the metrics of enforcement itself: interfaces by state, filters put back by what had
    become of them, connections that nobody judges by what became of them, and whether what is in
    force is what the files say.
    """
    return [
        Scalars(
            "axon_policy_interfaces",
            "Interfaces whose requests are judged; are judged behind programs of others; or cannot be "
            "judged, so that what arrives there for a workload with policies is dropped, and its "
            "connection ended.",
            "gauge",
            [Labels(("state",), (state,)) for state in states],
            list(states.values()),
        ),
        Scalars(
            "axon_policy_filter_repairs",
            "Filters put back: missing, removed or replaced by somebody else; behind, another was "
            "put in front.",
            "counter",
            [Labels(("was",), (was,)) for was in repairs],
            list(repairs.values()),
        ),
        Scalars(
            "axon_policy_sockets_destroyed",
            "Connections whose packets for a workload with policies are dropped, for nothing judges "
            "them: destroyed, so that both ends read it at once; unreachable, in a network namespace "
            "that the agent may not enter, or where the kernel cannot end sockets, so that their "
            "clients wait until they give up.",
            "counter",
            [Labels(("result",), (result,)) for result in ended],
            list(ended.values()),
        ),
        Scalars(
            "axon_policy_current",
            "1 while the policies in force are what the files say.",
            "gauge",
            [NO_LABELS],
            [int(current)],
        ),
    ]

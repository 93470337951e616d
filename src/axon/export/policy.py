"""Metrics of policies: what they decided, and why what was denied was."""

from __future__ import annotations

from collections.abc import Mapping

from axon.export.families import Family, Scalars
from axon.export.labels import Labels

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

"""What was asked in the last hours, with the labels that policies see."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING

from axon.agent.counts import Local, Workload
from axon.agent.listed import workload
from axon.agent.servers import Server
from axon.agent.traffic import Traffic
from axon.api import policy as api
from axon.policy.language.labels import NAMESPACE, Party
from axon.policy.parties.callers import caller as calling

if TYPE_CHECKING:
    from axon.agent.counts import Caller
    from axon.policy.compiler.compile import Host

Name = Callable[[int, str, int | None], str]
"""Names who is in a cgroup, by command and the port that it serves; None: it calls."""


def exchanges(memory: Traffic, host: Host, name: Name) -> api.Traffic:
    """Return what is remembered; `host` has the cgroups that are gone as well."""
    servers: dict[Workload, tuple[str, Party]] = {}
    callers: dict[Caller, api.Caller] = {}
    found = []
    for asked, count, denied, samples in memory.total():
        there = asked.workload
        if there not in servers:
            service = name(there.cgroup, there.command, there.port)
            servers[there] = service, workload(host, Server(*there, service))
        if asked.caller not in callers:
            callers[asked.caller] = _caller(asked.caller, host, name)
        service, party = servers[there]
        found.append(
            api.Exchange(
                service=service,
                labels=dict(party.labels),
                namespace=party.namespace,
                port=there.port,
                caller=callers[asked.caller],
                method=asked.method,
                route=asked.route,
                count=count,
                denied=denied,
                samples=[api.Sample(path=path, host=at) for path, at in samples],
            )
        )
    return api.Traffic(seconds=memory.seconds, lost=memory.lost, exchanges=found)


def _caller(who: Caller, host: Host, name: Name) -> api.Caller:
    """Return who asked: known by the cgroup on this host, else by the address."""
    if isinstance(who, Local):
        base = host.cgroups.get(who.cgroup)
        party = base and calling(host.given.caller(base, who.command), who.command)
        service = name(who.cgroup, who.command, None)
        return _said(service, party, who.address)
    if who is None:
        return _said("", None, None)
    at = ipaddress.ip_address(who)
    around = [net for net in host.networks if at in net]
    nearest = max(around, key=lambda net: net.prefixlen, default=None)
    return _said("", host.networks[nearest] if nearest else None, who)


def _said(service: str, party: Party | None, address: str | None) -> api.Caller:
    return api.Caller(
        service=service,
        labels=dict(party.labels) if party else None,
        namespace=party.namespace if party else NAMESPACE,
        address=address,
    )

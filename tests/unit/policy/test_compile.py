"""What is compiled against what policies say."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from axon.policy.callers import caller as calling
from axon.policy.compile import Compiler, Host
from axon.policy.judge import Caller, Request, Verdict, judge
from axon.policy.labels import COMMAND, PORT, SERVICE, Party
from axon.policy.model import Address, Policy
from tests.unit.policy import strategies as some
from tests.unit.policy.simulator import Kernel, Socket

SECRET = 0x0123_4567_89AB_CDEF
CGROUPS = st.sampled_from([10, 11, 12, 13, 99])
servers = st.builds(
    Socket, CGROUPS, st.sampled_from(some.COMMANDS), st.sampled_from(some.SERVER_PORTS)
)
clients = st.none() | st.builds(Socket, CGROUPS, st.sampled_from(some.COMMANDS))
ends = st.tuples(servers, clients, some.addresses)


def workload(host: Host, server: Socket) -> Party | None:
    """Return who a server's socket belongs to."""
    party = host.cgroups.get(server.cgroup, host.unknown)
    if party is None:
        return None
    own = party.labels.get(SERVICE, f"{server.command}:{server.port}")
    return party.with_labels({COMMAND: server.command, PORT: str(server.port), SERVICE: own})


def asking(host: Host, client: Socket | None, address: Address | None) -> Caller:
    """Return who calls, by what the host knows."""
    if client is not None:
        party = host.cgroups.get(client.cgroup)
        return Caller(party and calling(party, client.command), address)
    inside = [net for net in host.networks if address is not None and address in net]
    best = max(inside, key=lambda net: net.prefixlen, default=None)
    return Caller(None if best is None else host.networks[best], address)


@settings(max_examples=250)
@given(some.situations(), some.machines, st.lists(ends, min_size=4, max_size=4))
def test_the_walk_comes_to_what_policies_say(
    situation: tuple[list[Policy], list[Request]],
    host: Host,
    between: list[tuple[Socket, Socket | None, Address | None]],
) -> None:
    """Of any policies the kernel's walk has the verdict, policy and rule that their text has."""
    policies, asked = situation
    compiled = Compiler(SECRET).compile(policies, host)
    kernel = Kernel(compiled, SECRET)
    for request, (server, client, address) in product(asked, between):
        sent = replace(request, port=server.port)
        got = kernel.judge(server, client, address, sent)
        party = workload(host, server)
        if party is None:
            assert got.verdict is Verdict.NONE
            continue
        want = judge(policies, party, asking(host, client, address), sent)
        assert got.verdict is want.verdict, (server, client, address, sent, want)
        if want.rule:
            assert (compiled.policies[got.policy], got.rule) == (want.policy, want.rule.number)
        elif want.verdict in {Verdict.DROPPED, Verdict.AUDIT}:
            assert compiled.policies[got.policy] == want.policy

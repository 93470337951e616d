"""What is compiled against what policies say."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axon.errors import PolicyError
from axon.policy.compiler.compile import Bounds, Compiler, Host
from axon.policy.files.load import parse_policies
from axon.policy.judging.judge import Caller, Request, Verdict, judge
from axon.policy.language.labels import COMMAND, PORT, SERVICE, UNIT, Party
from axon.policy.language.model import Address, Policy
from axon.policy.parties.callers import caller as calling
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
    party = host.given.workload(party, server.command, str(server.port))
    own = party.labels.get(SERVICE, f"{server.command}:{server.port}")
    return party.with_labels({COMMAND: server.command, PORT: str(server.port), SERVICE: own})


def asking(host: Host, client: Socket | None, address: Address | None) -> Caller:
    """Return who calls, by what the host knows."""
    if client is not None:
        party = host.cgroups.get(client.cgroup)
        if party is None:
            return Caller(None, address)
        return Caller(calling(host.given.caller(party, client.command), client.command), address)
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


HEAD = "apiVersion: axon.dev/v1alpha1\nkind: L7NetworkPolicy\nmetadata: {name: %s}\nspec:\n"


def policy(name: str, text: str) -> Policy:
    """Return a policy of this name with this spec, indented by two."""
    (found,) = parse_policies(HEAD % name + text, name)
    return found


def numbered(policies: int, rules: int, tag: str = "r") -> list[Policy]:
    """Return policies for a workload each, of so many rules."""
    paths = ("items", "{id}", "x/*", "v*.json")
    return [
        policy(
            f"p{n}",
            f"  podSelector: {{matchLabels: {{app: s{n}}}}}\n  ingress:\n"
            f"    - from: [{{podSelector: {{matchLabels: {{app: s{n * 7 % 1000}}}}}}}]\n"
            "      httpRules:\n"
            + "".join(
                f'        - {{method: GET, path: "/api/{tag}{i}/{paths[i % 4 if i < 50 else i % 3]}"}}\n'
                for i in range(rules)
            ),
        )
        for n in range(policies)
    ]


def cpu(compiler: Compiler, policies: list[Policy], host: Host) -> float:
    """Return the seconds of CPU that a compilation takes."""
    gc.collect()
    before = time.process_time()
    compiler.compile(policies, host)
    compiler.accept()
    return time.process_time() - before


def test_it_is_quick() -> None:
    """1,000 policies of 100 rules take less than 2 s, one that changes among them less than 100 ms."""
    host = Host({n: Party.of({"app": f"s{n - 1}"}) for n in range(1, 1001)}, unknown=None)
    policies = numbered(1000, 100)
    compiler = Compiler(SECRET)
    assert cpu(compiler, policies, host) < 2
    changes = []
    for n in (5, 500, 999):
        policies[n] = numbered(n + 1, 100, "q")[n] if n == 5 else renamed(policies[n])
        changes.append(cpu(compiler, policies, host))
    assert min(changes) < 0.1


def renamed(old: Policy) -> Policy:
    """Return a policy of the same name without its first rule."""
    (entry,) = old.ingress
    return replace(old, ingress=(replace(entry, rules=(entry.rules or ())[1:]),))


def test_another_compiler_keeps_the_numbers() -> None:
    """A policy that comes or goes while no agent runs does not take another's number."""
    host = Host({n: Party.of({"app": f"s{n - 1}"}) for n in range(1, 5)}, unknown=None)
    policies = numbered(4, 1)
    before = Compiler(SECRET).compile(policies[1:3], host).names
    after = Compiler(SECRET, known=before).compile(policies, host).names
    assert before.items() <= after.items()
    assert len(after) == 4


def test_what_has_not_changed_is_the_same() -> None:
    """Only the sets of a changed policy are new; numbers of policies and callers stay."""
    host = Host({n: Party.of({"app": f"s{n - 1}"}) for n in range(1, 21)}, unknown=None)
    policies = numbered(20, 5)
    compiler = Compiler(SECRET)
    one = compiler.compile(policies, host)
    compiler.accept()
    again = compiler.compile(numbered(20, 5), host)
    assert all(a is b for a, b in zip(one.images, again.images, strict=True))
    policies[3] = renamed(policies[3])
    two = compiler.compile(policies[1:], host)
    same = [image for image in two.images if any(image is old for old in one.images)]
    assert len(same) == 18
    assert {n: p.name for n, p in two.policies.items()} == {
        n: p.name for n, p in one.policies.items() if p.name != "p0"
    }
    assert two.parties == one.parties
    assert two.names[two.sets.max()].startswith("default/p")


def test_a_new_caller_changes_only_who_asks_for_it() -> None:
    """A caller that no policy names leaves every set as it was; one that is named, only some."""
    cgroups = {n: Party.of({"app": f"s{n - 1}"}) for n in range(1, 21)}
    compiler = Compiler(SECRET)
    policies = numbered(20, 5)
    one = compiler.compile(policies, Host(cgroups, unknown=None))
    compiler.accept()
    two = compiler.compile(policies, Host(cgroups | {99: Party.of({"app": "z"})}, unknown=None))
    assert all(a is b for a, b in zip(one.images, two.images, strict=True))
    more = cgroups | {99: Party.of({"app": "s7", "tier": "b"}), 100: cgroups[4]}
    three = compiler.compile(policies, Host(more, unknown=None))
    assert sum(a is b for a, b in zip(one.images, three.images, strict=True)) == 19


def test_entries_that_a_look_up_needs_not_are_left_out() -> None:
    """A port that one policy names costs one entry, not one for every cgroup and command."""
    everybody = policy("all", "  podSelector: {}\n")
    port = policy("port", '  podSelector: {matchLabels: {axon.dev/port: "8080"}}\n')
    unit = policy("unit", "  podSelector: {matchLabels: {axon.dev/unit: a.service}}\n")
    host = Host({n: Party.of({UNIT: f"{chr(96 + n)}.service"}) for n in range(1, 11)})
    compiled = Compiler(SECRET).compile([everybody, port, unit], host)
    found = {
        (int(k["cgroup"]), int(k["port"])): int(s)
        for k, s in zip(compiled.targets, compiled.sets, strict=True)
    }
    assert set(found) == {(0, 0), (0, 8080), (1, 0), (1, 8080)}
    assert len(set(found.values())) == 4


@pytest.mark.parametrize(
    ("made", "bounds", "said"),
    [
        (
            [policy(f"p{n}", f"  podSelector: {{}}\n  ingress: [{', '.join(['{}'] * 250)}]\n") for n in range(66)],
            None,
            r"default/p9 and 65 more that select the same workload have 16,500 rules, .* 16,384",
        ),
        (
            [policy("g", f"  podSelector: {{}}\n  ingress: [{{httpRules: [{', '.join(['{path: /a*}'] * 65)}]}}]\n")],
            None,
            r"default/g has 65 rules with \* inside a segment, .* by 64",
        ),
        (
            [policy("n", "  podSelector: {}\n  ingress: [{ports: [{port: 1, endPort: 5000}]}]\n")],
            None,
            r"default/n has 5,000 ports, .* by 4,096",
        ),
        (
            [
                policy(f"p{n}", f'  podSelector: {{matchLabels: {{axon.dev/port: "{n + 1}"}}}}\n')
                for n in range(20)
            ],
            Bounds(targets=10),
            "20 combinations of cgroup, command and port, and Axon has room for 10",
        ),
        (
            [policy("c", "  podSelector: {}\n  ingress: [{from: [{podSelector: {matchExpressions: [{key: axon.dev/command, operator: In, values: [a, b]}]}}]}]\n")],
            Bounds(callers=2),
            "need 3 combinations of cgroup and command",
        ),
        (
            [policy("b", "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]\n")],
            Bounds(addresses=1),
            "need 2 networks",
        ),
    ],
)  # fmt: skip
def test_bounds(made: list[Policy], bounds: Bounds | None, said: str) -> None:
    """What exceeds a bound is refused by the policy's and the bound's name; the last one stays good."""
    host = Host({1: Party.of({"app": "a"})})
    compiler = Compiler(SECRET, bounds)
    fine = policy("fine", "  podSelector: {}\n")
    before = compiler.compile([fine], host)
    with pytest.raises(PolicyError, match=said):
        compiler.compile(made, host)
    after = compiler.compile([fine], host)
    assert [image.digest for image in after.images] == [image.digest for image in before.images]


@pytest.mark.parametrize("name", ["nginx.service", "docker:web"])
def test_a_command_is_no_unit_or_container(name: str) -> None:
    """Who calls itself by a unit's or container's name is not allowed what that is."""
    asked = policy(
        "p",
        "  podSelector: {}\n  ingress: [{from: [{podSelector: {matchLabels: "
        f'{{axon.dev/service: "{name}"}}}}}}]}}]\n',
    )
    host = Host({7: Party.of({SERVICE: name}), 8: Party.of({})})
    kernel = Kernel(Compiler(SECRET).compile([asked], host), SECRET)
    allowed = {
        (cgroup, command): kernel.judge(Socket(8), Socket(cgroup, command), None, Request()).verdict
        for cgroup, command in product((7, 8), (name, "curl"))
    }
    assert allowed == {
        (7, name): Verdict.FORWARDED,
        (7, "curl"): Verdict.FORWARDED,
        (8, name): Verdict.DROPPED,
        (8, "curl"): Verdict.DROPPED,
    }


def test_too_many_cgroups() -> None:
    """Where somebody makes cgroups without end the newest of them are unknown, and everybody else stays known."""
    users = {1000 + i: Party.of({UNIT: "user@7.service"}) for i in range(50)}
    others = {1: Party.of({UNIT: "a.service"}), 2000: Party.of({UNIT: "b.service"})}
    compiler = Compiler(SECRET, Bounds(callers=20))
    made = compiler.compile([policy("fine", "  podSelector: {}\n")], Host(users | others))
    known = {int(key["cgroup"]) for key in made.callers}
    assert known == others.keys() | set(range(1000, 1018))
    assert made.left_out == 32


USER = Party.of({UNIT: "user@7.service"})
CURL = policy(
    "curl",
    "  podSelector: {matchExpressions: [{key: axon.dev/unit, operator: Exists}]}\n"
    "  ingress: [{from: [{podSelector: {matchLabels: {axon.dev/command: curl}}}]}]\n",
)


def crowded(*, disputed: bool, alike: int = 0) -> Host:
    """Return a host where a user has made 50 cgroups, beside units and others without labels."""
    made = {1000 + i: USER for i in range(50)}
    units = {n: Party.of({UNIT: f"{n}.service"}) for n in (1, 2, 2000)}
    others = {100 + i: Party.of({}) for i in range(alike)}
    return Host(made | units | others, disputed=frozenset(made if disputed else ()))


def test_a_user_s_cgroups_do_not_crowd_out_workloads() -> None:
    """However many somebody makes, every other workload stays selected, also one that starts later."""
    compiler = Compiler(SECRET, Bounds(targets=20))
    made = compiler.compile([CURL], crowded(disputed=True))
    found = dict(zip(made.targets["cgroup"].tolist(), made.sets.tolist(), strict=True))
    assert found == dict.fromkeys([1, 2, 2000, *range(1000, 1017)], 1)
    assert made.unselected == 33
    with pytest.raises(PolicyError, match="53 combinations of cgroup, command and port"):
        compiler.compile([CURL], crowded(disputed=False))


def test_a_user_s_cgroups_do_not_crowd_out_callers() -> None:
    """Where rules ask for commands cgroups give way with all their rows: first those that a user has made."""
    compiler = Compiler(SECRET, Bounds(callers=140))
    made = compiler.compile([CURL], crowded(disputed=True, alike=60))
    found = {(int(key["cgroup"]), bytes(key["comm"]).rstrip(b"\0")) for key in made.callers}
    here = [1, 2, 2000, *range(100, 160), *range(1000, 1007)]
    assert found == set(product(here, [b"", b"curl"]))
    assert made.left_out == 43


@pytest.mark.parametrize(
    ("disputed", "most", "kept"),
    [(True, 9, {1, 2, 2000, 100}), (False, 11, {1, 2, 2000, 100, 1000})],
)
def test_one_of_each_stays_known(disputed: bool, most: int, kept: set[int]) -> None:
    """Policies are refused where there is no room for one cgroup of each set of labels, and not before."""
    host = crowded(disputed=disputed, alike=60)
    made = Compiler(SECRET, Bounds(callers=most)).compile([CURL], host)
    assert {int(key["cgroup"]) for key in made.callers} == kept
    with pytest.raises(PolicyError, match="name fewer commands of callers"):
        Compiler(SECRET, Bounds(callers=most - 2)).compile([CURL], host)


def test_too_many_selections() -> None:
    """More ways to select workloads than the directory has entries are refused."""
    made = [
        policy(f"p{n}", f"  podSelector: {{matchLabels: {{app: s{n % 4095}}}}}\n")
        for n in range(4095)
    ]
    host = Host({n + 1: Party.of({"app": f"s{n}"}) for n in range(4096)})
    compiler = Compiler(SECRET)
    assert len(compiler.compile(made, host).images) == 4095
    everybody = policy("q", "  podSelector: {}\n")
    tier = policy("t", "  podSelector: {matchLabels: {tier: x}}\n")
    both = {9998: Party.of({"tier": "x"}), 9999: Party.of({"tier": "x", "app": "s5"})}
    with pytest.raises(PolicyError, match="4,096 different ways, and Axon has room for 4,095"):
        compiler.compile([*made[2:], everybody, tier], Host({**host.cgroups, **both}))
    with pytest.raises(PolicyError, match=r"default/q is without a number: .* 4,095 policies"):
        compiler.compile([*made, everybody], host)

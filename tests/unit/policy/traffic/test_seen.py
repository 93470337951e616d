"""What a change makes of requests that were seen, and the policies that allow just these."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axon.policy import check, parse_policies
from axon.policy.judging.judge import Caller
from axon.policy.language.labels import COMMAND, CONTAINER, PORT, SERVICE, UNIT, Party
from axon.policy.language.paths import Refusal, canonical
from axon.policy.traffic.generate import generate
from axon.policy.traffic.seen import (
    NO_PATH,
    OTHER,
    UNNAMED,
    Kind,
    Seen,
    allowed,
    differences,
    example,
)

NGINX = Party.of({UNIT: "nginx.service", SERVICE: "nginx.service", PORT: "80", COMMAND: "nginx"})
CURL = Caller(Party.of({SERVICE: "curl", COMMAND: "curl"}), ipaddress.ip_address("127.0.0.1"))
OFFICE = Caller(None, ipaddress.ip_address("10.0.0.7"))
POLICY = """\
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {axon.dev/unit: nginx.service}}
  mode: enforce
  ingress: [{httpRules: [{method: GET, path: "/users/7"}]}]
"""


def seen(route: str = "/", count: int = 1, caller: Caller = CURL, **more: object) -> Seen:
    """Return requests to nginx."""
    fields = {"method": "GET", "told": caller != Caller(), "by": str(caller)} | more
    return Seen("nginx.service", NGINX, 80, caller=caller, route=route, count=count, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/", "/"),
        ("/users/{id}/x", "/users/1/x"),
        ("/a/{uuid}", "/a/00000000-0000-4000-8000-000000000000"),
        ("/u/{*}/{name}", "/u/x/x"),
        ("/static/**", "/static/x"),
        ("/users/*/orders", "/users/x/orders"),
        (OTHER, "/other"),
        (NO_PATH, "*"),
    ],
)
def test_examples_have_their_route(route: str, path: str) -> None:
    """Where only a route is known a path is made up that has it."""
    assert example(route) == path


def test_differences() -> None:
    """Of a route the sample that is denied counts, with the deciding rule and the nearest one."""
    policies = parse_policies(POLICY, "p.yaml")
    things = [
        seen("/users/{id}", 5, samples=(("/users/7", "a"), ("/users/8", "a"))),
        seen("/users/7", 3),
        seen("/users/7", 2, method="POST", caller=OFFICE),
    ]
    worse = differences(things, [], policies)
    assert [(d.kind, d.seen.count, d.request.target) for d in worse] == [
        (Kind.DENIED, 5, b"/users/8"),
        (Kind.DENIED, 2, b"/users/7"),
    ]
    assert "Nearest is default/web" in worse[0].after.why
    assert [d.kind for d in differences(things, policies, [])] == [Kind.ALLOWED, Kind.ALLOWED]
    audited = parse_policies(POLICY.replace("enforce", "audit"), "p.yaml")
    assert {d.kind for d in differences(things, [], audited)} == {Kind.AUDITED}
    assert {d.kind for d in differences(things, policies, audited)} == {Kind.ALLOWED}
    assert differences(things, policies, policies) == []
    assert [one.count for one in allowed(things, policies)] == [5, 3]


def test_a_generated_policy_reads_well() -> None:
    """Callers of the same have one entry; counts stand behind rules, routes become patterns."""
    things = [
        seen("/users/{id}", 1234, samples=(("/users/7", "a"), ("/users/8", "a"))),
        seen("/users/{id}", 1, caller=OFFICE),
        seen("/health", 1, caller=Caller()),
        seen("/secret", 9, denied=True),
        seen(NO_PATH, 1, method="OPTIONS"),
    ]
    (text,) = generate(things, "audit")
    assert text == (
        "# nginx.service\n"
        "apiVersion: axon.dev/v1alpha1\n"
        "kind: L7NetworkPolicy\n"
        "metadata: {name: nginx.service}\n"
        "spec:\n"
        "  podSelector: {matchLabels: {axon.dev/unit: nginx.service}}\n"
        "  mode: audit\n"
        "  ingress:\n"
        "    - ports: [{port: 80}]\n"
        "      # from: everybody, because these callers are not told apart (setting peers)\n"
        "      httpRules:\n"
        '        - {method: GET, path: "/health"}  # once\n'
        "    - ports: [{port: 80}]\n"
        "      # left out: OPTIONS *, because it is no path\n"
        "      from:\n"
        '        - {ipBlock: {cidr: "10.0.0.7/32"}}  # 10.0.0.7\n'
        "        - {podSelector: {matchLabels: {axon.dev/service: curl}}}  "
        "# axon.dev/command=curl,axon.dev/service=curl at 127.0.0.1\n"
        "      httpRules:\n"
        '        - {method: GET, path: "/users/{id}"}  # 1,235 times\n'
    )


def test_many_callers_and_paths() -> None:
    """What exceeds a policy's bounds is written into more of them."""
    things = [seen(f"/p{n}", caller=Caller(None, ipaddress.ip_address(n + 1))) for n in range(300)]
    things += [seen(f"/q{n}") for n in range(300)]
    texts = list(generate(things, "enforce"))
    policies = parse_policies("---\n".join(texts), "f")
    assert [policy.name for policy in policies] == ["nginx.service", "nginx.service-2"]
    check(policies)
    assert differences(things, [], policies) == []


segments = st.sampled_from(
    [
        "",
        "a",
        "users",
        "{id}",
        "{*}",
        "{hex}",
        "%C3%A9",
        "x*y",
        "*",
        "a{b",
        ":id",
        "a'b",
        'q"',
        "x" * 300,
    ]
)
words = st.sampled_from(["", "a", "7", "%c3%a9", "x*y", "*", "a{b", ":id", "..", "a;b", "x" * 300])
routes = (
    st.lists(segments, min_size=1, max_size=5) | st.lists(st.just("a"), min_size=30, max_size=40)
).map(lambda parts: "/" + "/".join(parts)) | st.sampled_from([OTHER, NO_PATH])
paths = st.lists(words, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
addresses = st.sampled_from(["10.0.0.1", "fd00::1", "127.0.0.1"]).map(ipaddress.ip_address)
names = st.sampled_from(["curl", "no", "12", "docker:web", 'a\'b "c"', "é"])
callers = st.one_of(
    st.builds(Caller, st.none(), addresses),
    st.builds(
        lambda name, space, at: Caller(Party.of({SERVICE: name}, space), at),
        names, st.sampled_from(["default", "prod"]), addresses,
    ),
    st.just(Caller()),
)  # fmt: skip


def workload(labels: dict[str, str], space: str, port: int) -> tuple[str, Party, int]:
    """Return a server's service, labels and port; by its command if it has no labels yet."""
    command = labels.get(COMMAND)
    found = {**labels, SERVICE: f"{command}:{port}"} if command else labels
    return found[SERVICE], Party.of({**found, PORT: str(port)}, space), port


workloads = st.builds(
    workload,
    names.map(lambda name: {COMMAND: name})
    | names.map(lambda name: {UNIT: f"{name}.service", SERVICE: f"{name}.service"})
    | names.map(lambda name: name.replace(":", "-")).map(
        lambda name: {CONTAINER: name, SERVICE: f"docker:{name}"}
    ),
    st.sampled_from(["default", "shop"]),
    st.sampled_from([80, 8080]),
)  # fmt: skip


@st.composite
def things(draw: st.DrawFn) -> Seen:
    """Return requests of any kind."""
    service, party, port = draw(workloads)
    caller = draw(callers)
    return Seen(
        service, party, port, str(caller), caller, caller != Caller(),
        draw(st.sampled_from(["GET", "POST", UNNAMED])), draw(routes), draw(st.integers(1, 9999)),
        samples=tuple((path, "h") for path in draw(st.lists(paths, max_size=2, unique=True))),
    )  # fmt: skip


@settings(max_examples=300)
@given(st.lists(things(), max_size=6))
def test_what_is_generated_denies_nothing(found: list[Seen]) -> None:
    """Generated policies can be used as they are, and deny nothing of what they were made of but what
    every policy denies.
    """
    texts = list(generate(found, "enforce"))
    policies = parse_policies("---\n".join(texts), "generated.yaml")
    assert len({policy.key for policy in policies}) == len(policies)
    check(policies)
    for difference in differences(found, [], policies):
        assert difference.kind is Kind.DENIED
        assert isinstance(canonical(difference.request.target), Refusal), difference

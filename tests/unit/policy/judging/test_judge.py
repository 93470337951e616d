"""What a person is told of a request: verdict, rule and reason."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from axon.errors import PolicyError
from axon.policy import Caller, Party, Policy, Request, Verdict, judge, parse_policies
from axon.policy.judging.asked import caller_of, port_of, words_of, workload_of
from axon.policy.judging.expect import read_expectations
from axon.policy.language.labels import COMMAND, CONTAINER, PORT, SERVICE, UNIT
from tests.unit.policy.files.test_read import ISSUE

BACKEND = Party.of({"app": "backend"})
FRONTEND = Caller(Party.of({"app": "frontend"}))
ADMIN = Caller(Party.of({"app": "admin"}), ip_address("10.0.0.7"))


@pytest.fixture
def example() -> list[Policy]:
    """The example of the documentation."""
    return parse_policies(ISSUE, "f")


@pytest.mark.parametrize(
    ("caller", "request_", "verdict", "why"),
    [
        (FRONTEND, Request("GET", b"/api/users"), "forwarded", "ingress[0].httpRules[0] allows it"),
        (FRONTEND, Request("POST", b"/api/users?x"), "forwarded", "httpRules[1] allows it"),
        (FRONTEND, Request("PUT", b"/api/users"), "dropped", "the method is PUT, not GET"),
        (FRONTEND, Request("GET", b"/api/userz"), "dropped", "the caller (app=frontend) is not app=admin"),
        (FRONTEND, Request("GET", b"/users"), "dropped", "the path is not /api/users"),
        (ADMIN, Request("PUT", b"/api/users"), "forwarded", "ingress[1].httpRules[0]"),
        (ADMIN, Request("PUT", b"/api"), "dropped", "the path is not /api/*"),
        (ADMIN, Request("PUT", b"/api/%2e%2e/x"), "dropped", "it is not canonical"),
        (ADMIN, Request("PUT", b"*"), "dropped", "it is no path"),
        (ADMIN, Request(http=False), "dropped", "it is not HTTP/1"),
        (Caller(), Request("GET", b"/api/users"), "dropped", "somebody unknown) is not app=frontend"),
        (Caller(None, ip_address("10.0.0.7")), Request("GET", b"/api/users"), "dropped", "(10.0.0.7) is not"),
    ],
)  # fmt: skip
def test_the_reason_is_said(
    example: list[Policy], caller: Caller, request_: Request, verdict: str, why: str
) -> None:
    """A decision names the rule that allows a request, or what the nearest one asks for in vain."""
    decision = judge(example, BACKEND, caller, request_)
    assert decision.verdict == verdict
    assert why in decision.why
    assert (decision.rule is not None) is (verdict == "forwarded")
    assert decision.policy == example[0]


def test_who_is_not_selected(example: list[Policy]) -> None:
    """A workload that no policy selects, or in another namespace, is untouched."""
    for workload in (Party.of({"app": "x"}), Party.of({"app": "backend"}, "prod")):
        decision = judge(example, workload, Caller(), Request())
        assert (decision.verdict, decision.policy) == (Verdict.NONE, None)


def test_the_most_specific_rule_decides() -> None:
    """Of several rules that allow a request the most specific is named."""
    text = ISSUE.replace('{method: "*", path: /api/*}', "{path: /api/*}, {path: '/api/{x}'}, {}")
    text = text.replace("        - {path", "        [{path").replace("{}\n", "{}]\n")
    (policy,) = parse_policies(text, "f")
    decision = judge([policy], BACKEND, ADMIN, Request("GET", b"/api/users"))
    assert decision.rule is not None
    assert decision.rule.where == "ingress[1].httpRules[1]"
    assert judge([policy], BACKEND, ADMIN, Request("GET", b"/x")).rule is not None


def test_enforcing_and_auditing_are_judged_apart(example: list[Policy]) -> None:
    """An audit policy allows nothing that another denies, and what it misses is let by."""
    audit = ISSUE.replace("backend-api-policy", "other").replace("spec:", "spec:\n  mode: audit")
    both = example + parse_policies(audit.replace("users", "people"), "g")
    verdicts = [
        judge(both, BACKEND, FRONTEND, Request("GET", path)).verdict
        for path in (b"/api/users", b"/api/people", b"/api/x")
    ]
    assert verdicts == [Verdict.AUDIT, Verdict.DROPPED, Verdict.DROPPED]
    alone = [
        judge(both[1:], BACKEND, FRONTEND, Request("GET", path)).verdict
        for path in (b"/api/users", b"/api/people")
    ]
    assert alone == [Verdict.AUDIT, Verdict.FORWARDED]
    admin = judge(both, BACKEND, ADMIN, Request("GET", b"/api/x"))
    assert (admin.verdict, admin.policy) == (Verdict.FORWARDED, example[0])


def test_what_is_not_http() -> None:
    """It passes where a rule has no httpRules, or where the policy says so."""
    unread = ISSUE.replace('      httpRules:\n        - {method: "*", path: /api/*}\n', "")
    assert unread != ISSUE
    policies = parse_policies(unread, "f")
    assert judge(policies, BACKEND, ADMIN, Request(http=False)).verdict is Verdict.FORWARDED
    assert judge(policies, BACKEND, ADMIN, Request("GET", b"//")).verdict is Verdict.FORWARDED
    assert judge(policies, BACKEND, FRONTEND, Request(http=False)).verdict is Verdict.DROPPED
    let_by = parse_policies(ISSUE.replace("spec:", "spec:\n  nonHTTP: allow"), "f")
    decision = judge(let_by, BACKEND, Caller(), Request(http=False))
    assert (decision.verdict, decision.rule) == (Verdict.FORWARDED, None)
    assert "nonHTTP: allow" in decision.why


def test_who_is_meant() -> None:
    """Words are labels, a service or an address; command and port say more where they are known."""
    assert workload_of(["axon.dev/command=python3"], 8080).labels == {
        COMMAND: "python3",
        PORT: "8080",
        SERVICE: "python3:8080",
    }
    assert caller_of(words_of("app=a, 10.0.0.7")) == Caller(
        Party.of({"app": "a"}), ip_address("10.0.0.7")
    )
    assert caller_of(["[fd00::1]"]).address == ip_address("fd00::1")
    assert caller_of(["axon.dev/command=curl"]).party == Party.of(
        {COMMAND: "curl", SERVICE: "curl"}
    )
    assert caller_of([]) == Caller()
    assert [port_of(["axon.dev/port=81"], said) for said in (None, 82)] == [81, 82]
    assert port_of([], None) == 80
    with pytest.raises(PolicyError, match=r"as in 10\.0\.0\.7"):
        caller_of(["10.0.0"])
    with pytest.raises(PolicyError, match="not by its address"):
        workload_of(["10.0.0.1"], 80)


def test_what_a_service_is_called() -> None:
    """The name of a service says what Axon labels it with beside that; what is said is not changed."""
    unit = {SERVICE: "nginx.service", UNIT: "nginx.service"}
    container = {SERVICE: "docker:web", CONTAINER: "web"}
    assert workload_of(["nginx.service"], 80).labels == unit | {PORT: "80"}
    assert caller_of(["nginx.service"]).party == Party.of(unit)
    assert workload_of(["docker:web"], 80).labels == container | {PORT: "80"}
    assert caller_of(["docker:web"]).party == Party.of(container)
    server = {SERVICE: "python3:8080", COMMAND: "python3", PORT: "8080"}
    assert workload_of(["python3:8080"], port_of(["python3:8080"], None)).labels == server
    assert caller_of(["python3:8080"]).party == Party.of({SERVICE: "python3:8080"})
    assert workload_of(["web"], 80).labels == {SERVICE: "web", PORT: "80"}
    assert caller_of(["curl"]).party == Party.of({SERVICE: "curl", COMMAND: "curl"})
    assert workload_of(["nginx.service", "axon.dev/unit=a.service"], 80).labels[UNIT] == "a.service"


EXPECTED = """\
- {request: GET /api/users, from: app=frontend, workload: app=backend, expect: allow}
- request: DELETE /api/users
  from: {app: frontend}
  workload: [app=backend, tier=x]
  expect: deny
  rule: backend-api-policy
- {request: GET /api/users, workload: app=other, port: 8080, host: a.b, expect: allow}
- {request: PUT /api/x, from: app=admin, workload: app=backend, expect: allow, rule: "ingress[1].httpRules[0]"}
"""


def test_expectations(example: list[Policy], tmp_path: Path) -> None:
    """What is as expected says nothing; what is not says what is and why."""
    file = tmp_path / "e.yaml"
    file.write_text(EXPECTED)
    found = read_expectations(file)
    assert [one.difference(example) for one in found] == [None] * 4
    file.write_text(EXPECTED.replace("expect: deny", "expect: allow").replace("[1].", "[0]."))
    _, second, _, fourth = (one.difference(example) for one in read_expectations(file))
    assert second is not None
    assert second.startswith(f"{file}:2:3: expected allow, but it is dropped. default/backend")
    assert fourth is not None
    assert "forwarded as expected, not by ingress[0].httpRules[0]" in fourth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no expectation in it"),
        ("{}", "must be a list, not a mapping"),
        ("- {}", "an expectation needs request: write request: GET /path"),
        ("- {request: /x, workload: a=b, expect: allow}", "'/x' is no request: write GET /path"),
        ("- {request: GET /x, workload: a=b, expect: allowed}", "write allow"),
        ("- {request: GET /x, workload: a=b, expect: deny, form: a=b}", "write from"),
        ("- {request: GET /x, workload: a=b, expect: deny, port: x}", "from 1 to 65535"),
        ("- {request: GET /x, workload: 10.0.0.1, expect: deny}", "known by its labels"),
        ("- {request: GET /x, workload: a=b, from: 10.0.0, expect: deny}", "10.0.0 is no address"),
        ("- [", "it is no YAML here"),
    ],
)
def test_expectations_that_cannot_be_read(text: str, said: str, tmp_path: Path) -> None:
    """A file of expectations is checked as policies are: place, fault and remedy."""
    file = tmp_path / "e.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError) as caught:
        read_expectations(file)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{file}:")

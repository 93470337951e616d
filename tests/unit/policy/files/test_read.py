"""Policies as they are written, and what is said of those that are not right."""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from axon.errors import PolicyError
from axon.policy import Library, Mode, Policy, load_policies, parse_policies
from axon.policy.language.labels import Operator, Requirement
from axon.policy.language.model import Block, Ports

ISSUE = """\
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {name: backend-api-policy, namespace: default}
spec:
  podSelector: {matchLabels: {app: backend}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: frontend}}}]
      httpRules:
        - {method: GET,  path: /api/users}
        - {method: POST, path: /api/users}
    - from: [{podSelector: {matchLabels: {app: admin}}}]
      httpRules:
        - {method: "*", path: /api/*}
"""
HEAD = "apiVersion: axon.dev/v1alpha1\nkind: L7NetworkPolicy\nmetadata: {name: p}\n"


def one(text: str) -> Policy:
    """Return a text's only policy."""
    (policy,) = parse_policies(text, "f")
    return policy


def spec(text: str) -> Policy:
    """Return the policy with a spec."""
    return one(f"{HEAD}spec: {text}\n")


def entry(text: str) -> Policy:
    """Return the policy with an entry of ingress."""
    return spec(f"{{podSelector: {{}}, ingress: [{text}]}}")


def said(text: str) -> list[str]:
    """Return the lines of what is said of a text."""
    with pytest.raises(PolicyError) as caught:
        parse_policies(text, "f")
    return str(caught.value).splitlines()


def test_the_example() -> None:
    """The example of the documentation is read as it is meant."""
    policy = one(ISSUE)
    assert str(policy) == "default/backend-api-policy"
    assert (policy.mode, policy.non_http) == (Mode.ENFORCE, False)
    assert policy.selector.requirements == (Requirement("app", Operator.IN, ("backend",)),)
    rules = [str(rule) for ingress in policy.ingress for rule in ingress.rules or ()]
    assert rules == ["GET /api/users", "POST /api/users", "* /api/*"]
    assert [str(peer) for ingress in policy.ingress for peer in ingress.peers] == [
        "app=frontend",
        "app=admin",
    ]
    last = (policy.ingress[1].rules or ())[0]
    assert str(last.mark) == "f:13:11"


def test_everything_at_once() -> None:
    """All fields, and what the API server adds, are read."""
    policy = one(
        """\
# a comment
---
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata:
  name: p
  annotations: {a: b}
  resourceVersion: "1"
spec:
  mode: audit
  nonHTTP: allow
  policyTypes: [Ingress]
  podSelector:
    matchExpressions:
      - {key: tier, operator: NotIn, values: [a, b, a]}
      - {key: app, operator: Exists}
  ingress:
    - from:
        - podSelector: {}
          namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: prod}}
        - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
        - ipBlock: {cidr: "fd00::/8"}
      ports: [{port: 80, protocol: TCP}, {port: 8000, endPort: 8999}]
      httpRules:
        - methods: [GET, HEAD]
          path: "/users/{id}"
          host: "*.Example.com"
        - {}
    - {}
    - ports: [{protocol: TCP}]
---
"""
    )
    assert (policy.namespace, policy.mode, policy.non_http) == ("default", Mode.AUDIT, True)
    assert policy.selector.requirements == (
        Requirement("tier", Operator.NOT_IN, ("a", "b")),
        Requirement("app", Operator.EXISTS),
    )
    first, second, third = policy.ingress
    assert first.peers[1].block == Block(ip_network("10.0.0.0/8"), (ip_network("10.1.0.0/16"),))
    assert first.ports == (Ports(80, 80), Ports(8000, 8999))
    rules = first.rules or ()
    assert [str(rule) for rule in rules] == ["GET,HEAD /users/{id} at *.example.com", "* *"]
    assert (second.peers, second.ports, second.rules) == ((), (), None)
    assert third.ports == ()


SELECTOR = "{{podSelector: {0}}}"
PEER = "{{from: [{0}]}}"
BLOCK = "{{from: [{{ipBlock: {0}}}]}}"
PORT = "{{ports: [{0}]}}"
RULE = "{{httpRules: [{0}]}}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{podSelector: {}, egress: []}", "spec has egress: Axon judges requests where they arrive"),
        ("{podSelector: {}, policyTypes: [Egress]}", "policyTypes has Egress: Axon judges"),
        ("{podSelector: {}, ingres: []}", "spec has no field ingres: write ingress"),
        ("{podSelector: {}, zzz: []}", "write one of ingress, mode, nonHTTP, podSelector"),
        ("{podSelector: {}, mode: Audit}", "mode cannot be 'Audit': write audit"),
        ("{podSelector: {}, nonHTTP: yes}", 'YAML takes yes for something else: write "yes" in quotes'),
        ("{ingress: []}", "spec needs a podSelector: write podSelector: {}"),
        ("[]", "spec must be a mapping, not a list"),
        ("{podSelector: {}, podSelector: {}}", "podSelector is here twice: remove this or line 4"),
        (SELECTOR.format("{matchLabels: {app: 8080}}"), 'write "8080" in quotes'),
        (SELECTOR.format("{matchLabels: {app: true}}"), 'write "true" in quotes'),
        (SELECTOR.format("{matchLabels: {app: [a]}}"), "app must be text, not a list"),
        (SELECTOR.format("{matchLabels: [app]}"), "matchLabels must be a mapping, not a list"),
        (SELECTOR.format("{matchLabels: {a b: c}}"), "'a b' is no label"),
        (SELECTOR.format("{matchLabels: {axon.dev/units: c}}"), "write axon.dev/unit"),
        (SELECTOR.format('{matchLabels: {axon.dev/port: "0"}}'), 'from "1" to "65535"'),
        (SELECTOR.format("{matchLabels: {axon.dev/command: a-very-long-command}}"), 'write "a-very-long-com"'),
        (SELECTOR.format('{matchLabels: {axon.dev/unit: ""}}'), "no label axon.dev/unit has this value"),
        (SELECTOR.format("{matchLabels: {axon.dev/unit: nginx}}"), "only services count as units: write nginx.service"),
        (SELECTOR.format("{matchLabels: {axon.dev/unit: nginx.socket}}"), "write nginx.service"),
        (SELECTOR.format("{matchLabels: {axon.dev/container: 'docker:web'}}"), "no part of a container's name: write web"),
        (
            SELECTOR.format("{matchLabels: {axon.dev/unit: a.service, axon.dev/container: b}}"),
            "selects nobody, because nobody has both a unit and a container: write one of them",
        ),
        (
            SELECTOR.format(
                "{matchLabels: {axon.dev/container: b}, matchExpressions: [{key: axon.dev/unit, operator: Exists}]}"
            ),
            "nobody has both a unit and a container",
        ),
        (
            SELECTOR.format("{matchLabels: {axon.dev/unit: a.service, axon.dev/service: b.service}}"),
            "the axon.dev/service of a unit is the unit",
        ),
        (
            SELECTOR.format("{matchLabels: {axon.dev/container: a, axon.dev/service: 'docker:b'}}"),
            "the axon.dev/service of a container is its runtime",
        ),
        (
            '{podSelector: {matchLabels: {axon.dev/port: "8080"}}, ingress: [{ports: [{port: 9090}]}]}',
            "4:80: nobody is asked at 9090, because podSelector asks for axon.dev/port: write 8080, or remove",
        ),
        (SELECTOR.format("{matchExpressions: [{}]}"), "needs a key and an operator"),
        (SELECTOR.format("{matchExpressions: [{key: a, operator: in, values: [b]}]}"), "write In"),
        (SELECTOR.format("{matchExpressions: [{key: a, operator: In}]}"), "In without values"),
        (SELECTOR.format("{matchExpressions: [{key: a, operator: In, values: []}]}"), "In without values"),
        (SELECTOR.format("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}"), "remove them, or write In"),
        (
            SELECTOR.format("{matchLabels: {a: b}, matchExpressions: [{key: a, operator: DoesNotExist}]}"),
            "selects nobody, because nobody's a can be all that is asked",
        ),
        (
            SELECTOR.format("{matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [c]}]}"),
            "selects nobody",
        ),
        (
            SELECTOR.format("{matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}"),
            "selects nobody",
        ),
        (
            SELECTOR.format("{matchExpressions: [{key: axon.dev/port, operator: DoesNotExist}]}"),
            "4:41: podSelector selects nobody, because every workload has axon.dev/port: remove this condition",
        ),
        (
            SELECTOR.format("{matchExpressions: [{key: axon.dev/command, operator: DoesNotExist}]}"),
            "every workload has axon.dev/command",
        ),
        (
            SELECTOR.format("{matchLabels: {app: a}, matchExpressions: [{key: axon.dev/service, operator: DoesNotExist}]}"),
            "every workload has axon.dev/service",
        ),
        (
            SELECTOR.format('{matchLabels: {axon.dev/service: "python3:8080", axon.dev/port: "9090"}}'),
            "4:70: podSelector selects nobody, because nobody has axon.dev/service=python3:8080 together with "
            "axon.dev/port=9090: remove one of these conditions",
        ),
        (
            SELECTOR.format('{matchLabels: {app: a, axon.dev/service: "python3:8080", axon.dev/command: node}}'),
            "nobody has axon.dev/service=python3:8080 together with axon.dev/command=node",
        ),
        (
            SELECTOR.format(
                '{matchLabels: {axon.dev/service: "python3:8080"}, '
                'matchExpressions: [{key: axon.dev/port, operator: NotIn, values: ["8080"]}]}'
            ),
            "nobody has axon.dev/service=python3:8080 together with axon.dev/port notin (8080)",
        ),
        (
            SELECTOR.format('{matchLabels: {axon.dev/service: "python3:8080", axon.dev/unit: a.service}}'),
            "the axon.dev/service of a unit is the unit",
        ),
        (
            SELECTOR.format(
                "{matchLabels: {axon.dev/service: a.service}, "
                "matchExpressions: [{key: axon.dev/unit, operator: DoesNotExist}]}"
            ),
            "nobody has axon.dev/service=a.service together with !axon.dev/unit",
        ),
        (
            SELECTOR.format("{matchLabels: {axon.dev/service: nginx}}"),
            "axon.dev/service is never 'nginx', because a workload that is no unit or container is called by its "
            "port too: write nginx:PORT, or nginx.service",
        ),
        (SELECTOR.format('{matchLabels: {axon.dev/service: "a:http"}}'), "write UNIT.service, RUNTIME:CONTAINER or COMMAND:PORT"),
        (
            '{podSelector: {matchExpressions: [{key: axon.dev/port, operator: NotIn, values: ["80"]}]}, '
            "ingress: [{ports: [{port: 80}]}]}",
            "4:117: nobody is asked at 80, because podSelector asks for axon.dev/port: write another port, or remove",
        ),
        (
            '{podSelector: {matchExpressions: [{key: axon.dev/port, operator: NotIn, values: ["80", "81"]}]}, '
            "ingress: [{ports: [{port: 80, endPort: 81}]}]}",
            "nobody is asked at 80-81",
        ),
        (
            '{podSelector: {matchLabels: {axon.dev/service: "python3:8080"}}, ingress: [{ports: [{port: 80}]}]}',
            "nobody is asked at 80, because podSelector asks for axon.dev/service: write 8080, or remove",
        ),
    ],
)  # fmt: skip
def test_what_is_said_of_a_spec(text: str, what: str) -> None:
    """What a spec cannot mean is said, with its place and what to write instead."""
    (line,) = said(f"{HEAD}spec: {text}\n")
    assert what in line
    assert re.match(r"f:4:\d+: .*: .*\.$", line)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{form: []}", "an entry of ingress has no field form: write from"),
        (PEER.format("{}"), "names nobody"),
        (PEER.format("{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}"), "write them as two entries"),
        (PEER.format('{podSelector: {matchLabels: {axon.dev/port: "80"}}}'), "callers are not known by a port"),
        (PEER.format("{namespaceSelector: {matchLabels: {axon.dev/unit: a}}}"), "namespaces have no label"),
        (
            PEER.format("{namespaceSelector: {matchLabels: {team: a}}}"),
            "namespaces have no label team: write kubernetes.io/metadata.name, or podSelector",
        ),
        (
            PEER.format("{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: DoesNotExist}]}}"),
            "namespaceSelector selects nobody, because every namespace has kubernetes.io/metadata.name: remove",
        ),
        (
            PEER.format("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: Shop}}}"),
            "kubernetes.io/metadata.name is never 'Shop': write a name such as default",
        ),
        (
            PEER.format('{podSelector: {matchLabels: {axon.dev/service: "python3:8080"}}}'),
            "axon.dev/service is never 'python3:8080', because callers are not known by a port: write python3",
        ),
        (
            PEER.format("{podSelector: {matchLabels: {axon.dev/service: curl, axon.dev/command: wget}}}"),
            "nobody has axon.dev/service=curl together with axon.dev/command=wget",
        ),
        (
            PEER.format(
                "{podSelector: {matchLabels: {axon.dev/unit: a.service}, "
                "matchExpressions: [{key: axon.dev/command, operator: DoesNotExist}]}}"
            ),
            "nobody has axon.dev/unit=a.service together with !axon.dev/command",
        ),
        (BLOCK.format("{cidr: 0.0.0.0/32}"), "nobody has the address 0.0.0.0: write 0.0.0.0/0 for every address"),
        (BLOCK.format('{cidr: "::/128"}'), "nobody has the address ::: write ::/0"),
        (BLOCK.format("{cidr: 224.0.0.0/8}"), "nobody asks from 224.0.0.0/8, which is multicast"),
        (BLOCK.format("{}"), "ipBlock needs a cidr"),
        (BLOCK.format("{cidr: 10.0.0.0}"), "write 10.0.0.0/32"),
        (BLOCK.format("{cidr: 10.0.0.1/8}"), "write 10.0.0.0/8"),
        (BLOCK.format("{cidr: 10.0.0.0/255.0.0.0}"), "write 10.0.0.0/8"),
        (BLOCK.format("{cidr: 10.0.0.0/33}"), "is no network"),
        (BLOCK.format("{cidr: here}"), "'here' is no network"),
        (BLOCK.format('{cidr: "::ffff:10.0.0.0/104"}'), "write 10.0.0.0/8"),
        (BLOCK.format("{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}"), "11.0.0.0/16 is not within 10.0.0.0/8"),
        (BLOCK.format('{cidr: 10.0.0.0/8, except: ["fd00::/16"]}'), "is not within 10.0.0.0/8"),
        (BLOCK.format("{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}"), "leaves nothing of 10.0.0.0/8"),
        (BLOCK.format("{cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.128.0.0/9]}"), "except leaves nothing"),
        (PORT.format("{port: http}"), "the port has a name, http"),
        (PORT.format("{port: 0}"), "write one from 1 to 65535"),
        (PORT.format("{port: 0443}"), "a number, not '0443'"),
        (PORT.format("{port: 80, endPort: 0443}"), "a number, not '0443'"),
        (PORT.format("{port: 65536}"), "write one from 1 to 65535"),
        (PORT.format('{port: "80"}'), "port must be a number"),
        (PORT.format("{port: 80, endPort: 79}"), "write one from 80 to 65535"),
        (PORT.format("{endPort: 79}"), "endPort without port"),
        (PORT.format("{port: 53, protocol: UDP}"), "protocol UDP carries no HTTP/1"),
        ("{httpRules: []}", "httpRules without a rule"),
        ("{httpRules: {}}", "httpRules must be a list, not a mapping"),
        (RULE.format("GET"), "a rule must be a mapping, not a single value"),
        (RULE.format("{verb: GET}"), "a rule has no field verb"),
        (RULE.format("{method: GET, methods: [GET]}"), "write all into methods"),
        (RULE.format("{method: get}"), "write GET"),
        (RULE.format("{method: CONNECT}"), "CONNECT"),
        (RULE.format("{method: GE(T}"), "is no method"),
        (RULE.format('{method: "GET*"}'), "would be literal"),
        (RULE.format("{method: " + "M" * 32 + "}"), "of at most 31"),
        (RULE.format("{methods: []}"), "no method at all"),
        (RULE.format('{methods: [GET, "*"]}'), "* stands beside other methods"),
        (RULE.format("{path: api}"), "write /api"),
        (RULE.format("{path: /a/../b}"), "is denied"),
        (RULE.format('{host: "*"}'), "leave host out"),
        (RULE.format("{host: a.b:80}"), "write a.b, and the port under ports"),
        (RULE.format("{host: http://a.b/c}"), "write a.b"),
        (RULE.format("{host: a.b.}"), "write a.b"),
        (RULE.format('{host: "a.*.b"}'), "only at the beginning"),
        (RULE.format("{host: bücher.example}"), "write xn--bcher-kva.example"),
        (RULE.format("{host: a_b..c}"), "is no host"),
        (RULE.format('{host: "[fe80::1%eth0]"}'), "no request names the zone of an address: write [fe80::1]"),
    ],
)  # fmt: skip
def test_what_is_said_of_an_entry(text: str, what: str) -> None:
    """Peers, ports and rules that match nothing are refused, with what to write instead."""
    (line,) = said(f"{HEAD}spec: {{podSelector: {{}}, ingress: [{text}]}}\n")
    assert what in line
    assert re.match(r"f:4:\d+: .*: .*\.$", line)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("kind: Service\n", "apiVersion is missing: write apiVersion: axon.dev/v1alpha1"),
        (ISSUE.replace("v1alpha1", "v1"), "apiVersion is axon.dev/v1: write"),
        (ISSUE.replace("L7NetworkPolicy", "NetworkPolicy"), "kind is NetworkPolicy: write"),
        (ISSUE.replace("backend-api-policy", "Backend"), "'Backend' is no name"),
        (
            ISSUE.replace("backend-api-policy", "a" * 121),
            "NAMESPACE/NAME is 129 bytes long, and answers and counters carry 128: take a shorter name",
        ),
        (ISSUE.replace("name: backend-api-policy, ", ""), "a policy needs a name"),
        (ISSUE.replace("metadata: {name: backend-api-policy, namespace: default}\n", ""), "needs a name"),
        (HEAD, "a policy needs a spec"),
        ("- a\n", "a policy must be a mapping, not a list"),
        (HEAD + "spec: {podSelector: {}, ingress: [{}}\n", "it is no YAML here"),
        (HEAD + "spec:\n\tpodSelector: {}\n", "indent with blanks"),
        (HEAD + "spec: {podSelector: {}, ingress: [{httpRules: [{path: /a/{id}}]}]}\n", "text with braces in quotes"),
        (HEAD + "spec: {podSelector: {}, ingress: [{httpRules: [{method: *}]}]}\n", 'in quotes: "*"'),
        (HEAD + "spec: {podSelector: &a {}, ingress: [*a]}\n", "*a is a YAML alias"),
        (HEAD + "spec: !!python/object:os.system {}\n", "the tag"),
        (HEAD + "spec: {? [a] : b}\n", "where a field's name should be"),
        (HEAD + "spec: " + "[" * 30 + "]" * 30 + "\n", "levels of nesting"),
        ("a: \x01\n", "a character that YAML does not allow"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_document(text: str, what: str) -> None:
    """What is no policy, or no YAML, is said with its place."""
    lines = said(text)
    assert any(what in line for line in lines), lines
    assert all(re.match(r"f:\d+:\d+: .*\.$", line) for line in lines)


def test_deep_nesting_does_no_harm() -> None:
    """A file that is nothing but brackets is refused, however many there are."""
    assert "levels of nesting" in said("[" * 200_000)[0]


def test_all_problems_are_said_at_once() -> None:
    """Every problem of every document is said, in the order of the file, each once."""
    lines = said(
        f"{HEAD}spec: {{podSelector: {{}}, mode: of, egress: []}}\n---\n"
        f"{HEAD}spec: {{podSelector: {{}}, ingress: [{{ports: [{{port: x}}]}}]}}\n"
    )
    assert [line.split(":")[1] for line in lines] == ["4", "4", "9"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (RULE.format('{method: ""}'), 'the method is empty: write "*" for any, or leave the field out'),
        (RULE.format("{method: ''}"), 'the method is empty: write "*" for any, or leave the field out'),
        (RULE.format('{methods: ""}'), "the method is empty"),
        (RULE.format('{methods: [""]}'), "the method is empty"),
        (RULE.format('{methods: [GET, ""]}'), "the method is empty"),
        (RULE.format("{methods: [GET, null]}"), "YAML takes null for something else"),
        (RULE.format('{method: " "}'), "is no method"),
        (RULE.format('{path: ""}'), "the path is empty: write a path such as /api/users, or leave"),
        (RULE.format('{host: ""}'), "the host is empty: write a name such as api.example.com, or leave"),
        (RULE.format('{host: "*."}'), "is no host"),
        (PORT.format('{port: ""}'), "the port is empty: write its number, or leave"),
        (PORT.format('{port: 80, endPort: ""}'), "endPort must be a number"),
        (PORT.format('{port: 80, protocol: ""}'), 'protocol "" carries no HTTP/1'),
        (BLOCK.format('{cidr: ""}'), "the cidr is empty: write an address and its bits"),
        (BLOCK.format('{cidr: 10.0.0.0/8, except: [""]}'), "the except is empty"),
        (PEER.format('{podSelector: ""}'), "podSelector must be a mapping"),
        (PEER.format('{podSelector: {matchLabels: {"": a}}}'), "'' is no label"),
        (PEER.format('{podSelector: {matchExpressions: [{key: "", operator: Exists}]}}'), "'' is no label"),
        (PEER.format('{podSelector: {matchExpressions: [{key: a, operator: ""}]}}'), "operator cannot be ''"),
        ('{from: ""}', "from must be a list"),
        ('{ports: ""}', "ports must be a list"),
        ('{httpRules: ""}', "httpRules must be a list"),
    ],
)  # fmt: skip
def test_empty_text_is_not_any(text: str, what: str) -> None:
    """A field that a template has left empty is refused, and does not mean what none would mean."""
    (line,) = said(f"{HEAD}spec: {{podSelector: {{}}, ingress: [{text}]}}\n")
    assert what in line
    assert re.match(r"f:4:\d+: .*: .*\.$", line)


@pytest.mark.parametrize("nothing", ["", "~", "null", "\n      # - comment\n     "])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{httpRules: NIL}", "httpRules with nothing behind it: remove it to let everything by unparsed"),
        ("{from: NIL}", "from with nothing behind it: remove it to allow everybody, or the whole entry"),
        ("{ports: NIL}", "ports with nothing behind it: remove it to allow every port"),
        (RULE.format("{method: NIL}"), 'method with nothing behind it: write "*" for any, or leave'),
        (RULE.format("{methods: NIL}"), 'methods with nothing behind it: write "*" for any, or leave'),
        (RULE.format("{methods: NIL, method: GET}"), "methods with nothing behind it"),
        (RULE.format("{path: NIL}"), "path with nothing behind it: write a path"),
        (RULE.format("{host: NIL}"), "host with nothing behind it: write a name"),
        (PORT.format("{port: NIL}"), "port with nothing behind it: write its number"),
        (BLOCK.format("{cidr: 10.0.0.0/8, except: NIL}"), "except with nothing behind it"),
        (PEER.format("{namespaceSelector: {}, podSelector: NIL}"), "podSelector with nothing behind it"),
        (PEER.format("{podSelector: {matchLabels: NIL}}"), "matchLabels with nothing behind it"),
        (PEER.format("{podSelector: {matchExpressions: NIL}}"), "matchExpressions with nothing behind it"),
    ],
)  # fmt: skip
def test_nothing_is_not_any(text: str, what: str, nothing: str) -> None:
    """A field all of whose entries are comments does not allow what leaving it out would."""
    filled = text.replace("NIL", nothing)
    (line,) = said(f"{HEAD}spec: {{podSelector: {{}}, ingress: [{filled}]}}\n")
    assert what in line
    assert re.match(r"f:4:\d+: .*: .*\.$", line)


def test_a_block_of_comments() -> None:
    """The place that is said is that of the field."""
    (line,) = said(
        f"{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n"
        "    - from: [{podSelector: {}}]\n      httpRules:\n        # - {method: GET}\n"
    )
    assert line.startswith("f:8:7: httpRules with nothing behind it: remove it")


def test_what_nothing_and_no_entry_mean() -> None:
    """Where nothing allows less than anything it is none; lists without entries are NetworkPolicy's."""
    assert spec("{podSelector: {}, ingress: }").ingress == ()
    assert spec("{podSelector: {}, ingress: []}").ingress == ()
    for text in ("{podSelector: {}, mode: , nonHTTP: }", "{podSelector: {}, policyTypes: }"):
        assert spec(text) == spec("{podSelector: {}}")
    (policy,) = entry("{from: [], ports: []}").ingress
    assert (policy.peers, policy.ports) == ((), ())
    assert entry(PORT.format("{port: 80, endPort: , protocol: }")) == entry(
        PORT.format("{port: 80}")
    )


@pytest.mark.parametrize("field", ["mode", "nonHTTP", "ingress", "podSelector"])
def test_an_empty_field_of_a_spec(field: str) -> None:
    """Nor is an empty text taken for the default."""
    fields = {"podSelector": "{}"} | {field: '""'}
    (line,) = said(f"{HEAD}spec: {{{', '.join(f'{k}: {v}' for k, v in fields.items())}}}\n")
    assert re.match(rf"f:4:\d+: {field} (cannot|must) be ", line)


def test_an_empty_label_value_is_one() -> None:
    """A label may be there without a value; that is not having any value, nor not being there."""
    (requirement,) = spec('{podSelector: {matchLabels: {app: ""}}}').selector.requirements
    assert [requirement.met_by(value) for value in ("", "web", None)] == [True, False, False]


def test_a_column_is_that_of_the_fault() -> None:
    """Within a path the column is that of the character that is wrong."""
    (line,) = said(
        f'{HEAD}spec:\n  podSelector: {{}}\n  ingress: [{{httpRules: [{{path: "/a//b"}}]}}]\n'
    )
    assert line.startswith("f:6:37: an empty segment")


def test_labels_that_go_together() -> None:
    """What a unit, a container or a port can be is not refused."""
    for text in (
        "{axon.dev/unit: a.service, axon.dev/service: a.service}",
        "{axon.dev/container: a, axon.dev/service: 'docker:a'}",
        "{axon.dev/command: a, axon.dev/unit: 'a@b.service'}",
    ):
        assert spec(f"{{podSelector: {{matchLabels: {text}}}}}").selector.requirements
    ports = "{podSelector: {matchLabels: {axon.dev/port: '8080'}}, ingress: [{ports: [PORT]}]}"
    for port in ("{port: 8080}", "{port: 80, endPort: 9090}", "{protocol: TCP}"):
        assert spec(ports.replace("PORT", port)).ingress
    for text in (
        "{axon.dev/service: 'python3:8080', axon.dev/port: '8080', axon.dev/command: python3}",
        "{axon.dev/service: 'docker:80', axon.dev/port: '9090'}",  # a container whose name is a number
        "{axon.dev/service: 'docker:80', axon.dev/command: docker, axon.dev/port: '80'}",
        "{axon.dev/service: a.service, axon.dev/port: '80', axon.dev/command: b}",
    ):
        assert spec(f"{{podSelector: {{matchLabels: {text}}}}}").selector.requirements
    without = "{matchExpressions: [{key: axon.dev/port, operator: NotIn, values: ['80']}]}"
    for port in ("{port: 81}", "{port: 80, endPort: 81}", "{protocol: TCP}"):
        assert spec(f"{{podSelector: {without}, ingress: [{{ports: [{port}]}}]}}").ingress
    # callers on other hosts have no labels of Axon's
    absent = "{matchExpressions: [{key: axon.dev/command, operator: DoesNotExist}]}"
    assert entry(PEER.format(f"{{podSelector: {absent}}}")).ingress
    for service in ("curl", "a.service", "'docker:web'"):
        found = f"{{podSelector: {{matchLabels: {{axon.dev/service: {service}}}}}}}"
        assert entry(PEER.format(found)).ingress
    several = "{matchExpressions: [{key: axon.dev/port, operator: In, values: ['80', '90']}]}"
    assert spec(f"{{podSelector: {several}, ingress: [{{ports: [{{port: 90}}]}}]}}").ingress


def test_too_many_entries() -> None:
    """More entries than can be told apart are refused."""
    many = ", ".join(["{}"] * 257)
    (line,) = said(f"{HEAD}spec: {{podSelector: {{}}, ingress: [{many}]}}\n")
    assert "257 entries, and 256" in line


def test_files_and_directories(tmp_path: Path) -> None:
    """A directory's *.yaml and *.yml files are read by name, with several documents each."""
    (tmp_path / "b.yaml").write_text(ISSUE)
    (tmp_path / "a.yml").write_text(f"{HEAD}spec: {{podSelector: {{}}}}\n---\n---\n")
    (tmp_path / "c.txt").write_text("no policy")
    (tmp_path / ".hidden.yaml").write_text("no policy")
    found = load_policies([tmp_path, tmp_path / "b.yaml"])
    assert [policy.name for policy in found] == ["p", "backend-api-policy"]


def test_no_name_of_a_policy_is_passed_over(tmp_path: Path) -> None:
    """What has a policy's name and is no readable file is said, each with what it is, all at once."""
    (tmp_path / "a.yaml").write_text(ISSUE)
    (tmp_path / "b.yaml").symlink_to("absent")
    (tmp_path / "c.yml").symlink_to("c.yml")
    (tmp_path / "d.yaml").mkdir()
    os.mkfifo(tmp_path / "e.yaml")
    (tmp_path / "f.yaml").write_text("kind: Pod\n")
    (tmp_path / ".#a.yaml").symlink_to("user@host.1234")  # as an editor locks a file
    (tmp_path / "sub").mkdir()
    (tmp_path / "g.json").symlink_to("absent")
    with pytest.raises(PolicyError) as caught:
        load_policies([tmp_path])
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{tmp_path}/")[:6] for line in lines] == [
        *("b.yaml", "c.yml:", "d.yaml", "e.yaml", "f.yaml", "f.yaml")
    ]
    assert "it is a link to what cannot be read (No such file or directory)" in lines[0]
    assert "it is a link to what cannot be read (Too many levels" in lines[1]
    assert "it is a directory, and has the name of a file of policies: remove or rename" in lines[2]
    assert "it is no regular file, and has the name" in lines[3]


def test_an_unreadable_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is a problem, also one behind a link."""
    (tmp_path / "a.yaml").write_text(ISSUE)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        with pytest.raises(PolicyError, match=r"Cannot read .*a.yaml: Permission denied"):
            load_policies([tmp_path])
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(PolicyError, match=r"Cannot read the directory .*: Permission denied"):
        load_policies([tmp_path])


def test_links_as_kubernetes_writes_them(tmp_path: Path) -> None:
    """The files of a ConfigMap are links through ..data, which is swapped; a name that goes goes."""
    for version, names in (("..1", ("web", "old")), ("..2", ("web",))):
        (tmp_path / version).mkdir()
        for name in names:
            text = ISSUE.replace("backend-api-policy", name).replace("/users", f"/{version[2:]}")
            (tmp_path / version / f"{name}.yaml").write_text(text)
    data = tmp_path / "..data"
    data.symlink_to("..1")
    for name in ("web", "old"):
        (tmp_path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    library = Library()
    assert [policy.name for policy in library.load([tmp_path])] == ["old", "web"]
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(data)
    with pytest.raises(PolicyError, match=r"old.yaml: it is a link to what cannot be read"):
        library.load([tmp_path])
    (tmp_path / "old.yaml").unlink()
    (policy,) = library.load([tmp_path])
    assert "/api/2" in str((policy.ingress[0].rules or ())[0])


def test_problems_of_several_files(tmp_path: Path) -> None:
    """The problems of all files are said, and two policies of one name are a problem."""
    (tmp_path / "a.yaml").write_text(ISSUE.replace("v1alpha1", "v1"))
    (tmp_path / "b.yaml").write_text(ISSUE)
    (tmp_path / "c.yaml").write_text(ISSUE)
    (tmp_path / "d.yaml").write_bytes(b"\xff")
    (tmp_path / "e.yaml").write_bytes(b"#" * (17 << 20))
    with pytest.raises(PolicyError) as caught:
        load_policies([tmp_path, tmp_path / "none"])
    text = str(caught.value)
    assert "a.yaml:1:13: apiVersion is axon.dev/v1" in text
    assert f"c.yaml:1:1: default/backend-api-policy is in {tmp_path}/b.yaml:1:1 already" in text
    assert "d.yaml: it is not text in UTF-8 (byte 1)" in text
    assert "e.yaml: it has more than 16 MiB" in text
    assert f"Cannot read {tmp_path}/none: No such file" in text

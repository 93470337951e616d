"""Labels that the user gives: what a file may say, and who has them then."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from axon.errors import PolicyError
from axon.policy.compiler.compile import Compiler, Host
from axon.policy.files.load import parse_policies
from axon.policy.files.readgiven import COMBINATIONS, ENTRIES, parse_given
from axon.policy.language.labels import SERVICE, UNIT, Party
from axon.policy.parties.given import Given

NGINX = Party.of({UNIT: "nginx.service", SERVICE: "nginx.service"})
BARE = Party.of({})
LAPTOP = Party.of({"zone": "office", "app": "laptop"})
EXAMPLE = """\
- match: {unit: nginx.service}
  labels: {app: frontend, tier: web}
- match: {container: shop-db}
  labels: {app: db}
  namespace: shop
- match: {command: node, port: 8080}
  labels: {app: backend}
- match: {service: "python3:9000"}
  labels: {app: admin}
- match: {address: 10.0.0.0/24}
  labels: {zone: office}
- match: {address: 10.0.0.7}
  labels: {app: laptop}
"""


def given(text: str) -> Given:
    """Read a file's text."""
    return parse_given(text, "labels.yaml")


def wrong(text: str) -> str:
    """Return what is said of a file's text."""
    with pytest.raises(PolicyError) as refused:
        given(text)
    return str(refused.value)


def test_by_unit_command_port_and_service() -> None:
    """Labels go to whom an entry fits; a service that is named after its port is a server only."""
    found = given(EXAMPLE)
    assert found.workload(NGINX, "nginx", "80").labels["app"] == "frontend"
    assert found.caller(NGINX, "nginx").labels["tier"] == "web"
    assert found.workload(BARE, "node", "8080").labels == {"app": "backend"}
    assert found.workload(BARE, "node", "8081") == BARE
    assert found.caller(BARE, "node") == BARE
    assert found.workload(BARE, "python3", "9000").labels == {"app": "admin"}
    assert found.workload(NGINX, "python3", "9000").labels["app"] == "frontend"


def test_a_command_is_no_unit_or_container() -> None:
    """Labels for a service are not given to callers that call themselves so."""
    found = given(
        "- match: {service: nginx.service}\n  labels: {app: a}\n"
        '- match: {service: "docker:web"}\n  labels: {app: b}\n'
        "- match: {service: curl}\n  labels: {app: c}\n"
    )
    assert found.caller(NGINX, "curl").labels["app"] == "a"
    assert found.caller(BARE, "curl").labels["app"] == "c"
    assert [found.caller(BARE, name) for name in ("nginx.service", "docker:web")] == [BARE] * 2


def test_addresses() -> None:
    """An address has the labels of every network that it is in, and one in none is nobody."""
    found = given(EXAMPLE)
    office, laptop = ip_network("10.0.0.0/24"), ip_network("10.0.0.7/32")
    assert found.networks() == {office: Party.of({"zone": "office"}), laptop: LAPTOP}
    assert found.at(ip_address("10.0.0.8")) == Party.of({"zone": "office"})
    assert found.at(ip_address("10.0.0.7")) == LAPTOP
    assert [found.at(ip_address(other)) for other in ("10.0.1.7", "::1")] == [None, None]


def test_later_entries_count() -> None:
    """Of several entries that say a label of somebody the last one counts, whatever it asks for."""
    unit, port = "{unit: nginx.service}", "{port: 80}"
    text = "- {{match: {}, labels: {{app: a}}}}\n- {{match: {}, labels: {{app: b}}}}\n"
    for first, last in ((unit, port), (port, unit)):
        assert given(text.format(first, last)).workload(NGINX, "x", "80").labels["app"] == "b"


def test_namespaces() -> None:
    """An entry may put somebody into a namespace, whose policies select them then."""
    container = Party.of({"axon.dev/container": "shop-db"})
    assert given(EXAMPLE).workload(container, "postgres", "5432").namespace == "shop"


def test_they_are_compiled() -> None:
    """A policy that asks for labels of the user's selects servers and callers that have them."""
    policies = parse_policies(
        "apiVersion: axon.dev/v1alpha1\nkind: L7NetworkPolicy\nmetadata: {name: p}\n"
        "spec:\n  podSelector: {matchLabels: {app: backend}}\n"
        "  ingress: [{from: [{podSelector: {matchLabels: {app: frontend}}}]}]\n",
        "p.yaml",
    )
    labels = given(EXAMPLE)
    compiled = Compiler(1).compile(
        policies, Host({7: NGINX, 8: BARE}, labels.networks(), given=labels)
    )
    rows = {
        (int(t["cgroup"]), bytes(t["comm"]).rstrip(b"\0"), int(t["port"])): int(s)
        for t, s in zip(compiled.targets, compiled.sets, strict=True)
    }
    assert {key for key, chosen in rows.items() if chosen} == {(0, b"node", 8080)}
    assert [p.labels["app"] for p in compiled.parties.values() if "tier" in p.labels] == [
        "frontend"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{match: {unit: a.service}}", "1:1: a file of labels must be a list"),
        ("- {labels: {app: a}}", "1:3: an entry needs match"),
        ("- {match: {}, labels: {app: a}}", "1:11: match names nobody"),
        (
            '- {match: {service: "python3:9000", port: 8080}, labels: {app: a}}',
            "match names nobody, because no workload has axon.dev/service=python3:9000 together with axon.dev/port=8080",
        ),
        (
            '- {match: {service: "python3:9000", command: node}, labels: {app: a}}',
            "together with axon.dev/command=node: write one of them",
        ),
        (
            "- {match: {service: curl, port: 80}, labels: {app: a}}",
            "no workload has axon.dev/service=curl",
        ),
        (
            '- {match: {service: "tokio:worker"}, labels: {app: a}}',
            "service is never 'tokio:worker', because nobody is called so",
        ),
        ("- {match: {unit: , port: 80}, labels: {app: a}}", "1:12: unit with nothing behind it"),
        ("- {match: {command: a, port: }, labels: {app: a}}", "1:24: port with nothing behind it"),
        ('- {match: {unit: "", port: 80}, labels: {app: a}}', "unit is never ''"),
        ("- {match: {units: a.service}, labels: {app: a}}", "1:12: match has no field units"),
        ("- {match: {unit: nginx}, labels: {app: a}}", "write nginx.service"),
        ("- {match: {command: a-very-long-command}, labels: {app: a}}", 'write "a-very-long-com"'),
        (
            "- {match: {unit: a.service, container: b}, labels: {app: a}}",
            "1:11: match names nobody, because nobody has both a unit and a container: write one",
        ),
        (
            "- {match: {unit: a.service, service: b.service}, labels: {app: a}}",
            "the axon.dev/service of a unit is the unit",
        ),
        (
            "- {match: {container: 'docker:b'}, labels: {app: a}}",
            "container is never 'docker:b', because the runtime is no part of a container's name: write b",
        ),
        ("- {match: {port: 0443}, labels: {app: a}}", "port must be a number, not '0443'"),
        ("- {match: {port: 70000}, labels: {app: a}}", "write one from 1 to 65535"),
        (
            "- {match: {port: 80}, labels: {axon.dev/unit: a}}",
            "1:32: axon.dev/unit is a label that",
        ),
        ("- {match: {port: 80}, labels: {app: 1}}", 'write "1" in quotes'),
        ("- {match: {port: 80}, labels: {a b: x}}", "'a b' is no label"),
        ("- {match: {port: 80}}", "an entry needs labels"),
        ("- {match: {port: 80}, labels: {a: b}, namespace: A}", "'A' is no namespace"),
        ("- {match: {address: 10.0.0.1/24}, labels: {a: b}}", "write 10.0.0.0/24"),
        ("- {match: {address: 10.x}, labels: {a: b}}", "is no network"),
        ("- {match: {address: 127.0.0.1}, labels: {a: b}}", "this host itself"),
        ("- {match: {address: 10.0.0.1, port: 80}, labels: {a: b}}", "address stands beside"),
        ("- {match: *a, labels: {a: b}}", "*a is a YAML alias"),
        ("- {match: {unit: ''}, labels: {a: b}}", "unit is never ''"),
    ],
)
def test_what_is_wrong(text: str, said: str) -> None:
    """Each mistake is said with its line and column, and what to write instead."""
    message = wrong(text)
    assert message.startswith("labels.yaml:1:")
    assert said in message


def test_bounds() -> None:
    """Too many entries, or combinations of commands and ports, are refused."""
    entry = "- {{match: {{port: {}}}, labels: {{a: b}}}}\n"
    assert f"Axon takes {ENTRIES:,}" in wrong(entry.format(80) * (ENTRIES + 1))
    ports = "".join(entry.format(n + 1) for n in range(COMBINATIONS // 2))
    given(ports)
    assert "2 commands and" in wrong(
        ports + "- {match: {command: a}, labels: {a: b}}\n- {match: {command: b}, labels: {a: b}}\n"
    )


def test_nothing_is_said() -> None:
    """An empty list gives nobody a label; an empty file is what a full disk leaves, and refused."""
    assert given("# nothing\n[]\n") == Given()
    for text in ("", "# nothing\n"):
        assert (
            wrong(text) == "labels.yaml:1:1: there are no labels in it: write [] if that is meant."
        )

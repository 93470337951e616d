"""Flow records: kept, filtered and made readable."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from axon.agent.flows import Reader, Store, Who
from axon.agent.matching import cgroups_for, compile_filter, method_names, passes
from axon.api.filters import METHODS, FlowFilter, parse
from axon.api.schema import End
from axon.kernel import Abi, load_abi


@pytest.fixture(scope="module")
def abi() -> Abi:
    """Give the layouts of the compiled programs."""
    return load_abi()


def records(abi: Abi, n: int, **fields: Any) -> NDArray[Any]:
    """Return flow records, numbered."""
    made = np.zeros(n, abi.flow)
    made["number"] = np.arange(n)
    for name, value in fields.items():
        made[name] = value
    return made


def everything(flows: NDArray[Any]) -> NDArray[np.bool_]:
    """Pass all."""
    return np.ones(len(flows), np.bool_)


@pytest.mark.parametrize("batch", [1, 3, 7, 10, 25])
def test_the_newest_are_kept(abi: Abi, batch: int) -> None:
    """However they come, the last ten are there, oldest first."""
    store = Store(abi.flow, 10)
    flows = records(abi, 100)
    for low in range(0, 100, batch):
        store.add(flows[low : low + batch])
    assert store.newest(10, everything)["number"].tolist() == list(range(90, 100))
    assert store.newest(3, everything)["number"].tolist() == [97, 98, 99]
    even = store.newest(3, lambda f: f["number"] % 2 == 0)
    assert even["number"].tolist() == [94, 96, 98]
    assert len(store.newest(0, everything)) == 0


def test_a_store_may_be_partly_filled_or_of_no_size(abi: Abi) -> None:
    """Before it is full only what came is there; a store of none keeps nothing."""
    store = Store(abi.flow, 10)
    assert len(store.newest(5, everything)) == 0
    store.add(records(abi, 2))
    assert store.newest(5, everything)["number"].tolist() == [0, 1]
    nothing = Store(abi.flow, 0)
    nothing.add(records(abi, 2))
    assert len(nothing.newest(5, everything)) == 0


def test_a_record_is_made_readable(abi: Abi) -> None:
    """Addresses, texts, times and reasons are as the API has them; hostile bytes are escaped."""
    flow = records(
        abi,
        1,
        start=0,
        duration=1_500_000,
        ttfb=500_000,
        status=503,
        lport=80,
        rport=4000,
        cookie=0xABCDEF0123456789,
        method=abi.enum("ax_method")["AX_METHOD_OTHER"],
        version=abi.enum("ax_version")["AX_VERSION_1_1"],
        error=abi.enum("ax_error")["AX_ERROR_INCOMPLETE"],
        flags=abi.enum("ax_flow_flag")["AX_FLOW_ERROR"],
    )
    path = b"/\xff\x1b[31m"
    flow["path"][0, : len(path)] = np.frombuffer(path, np.uint8)
    flow["path_len"] = len(path)
    for name, text in (("laddr", "::ffff:10.0.0.1"), ("raddr", "fd00::2")):
        flow[name][0] = np.frombuffer(ipaddress.IPv6Address(text).packed, np.uint8)
    flow["comm"][0, :3] = np.frombuffer(b"ngx", np.uint8)
    reader = Reader(abi, lambda _: Who("web", "ns"), lambda route: f"route {route}")
    (made,) = reader.read(flow)
    assert (made.service, made.namespace, made.role, made.method) == (
        "web",
        "ns",
        "server",
        "_OTHER",
    )
    assert made.destination == End(address="10.0.0.1", port=80)
    assert made.source == End(address="fd00::2", port=4000)
    assert made.path == "/\\xff\x1b[31m"
    assert (made.duration, made.ttfb, made.status) == (0.0015, 0.0005, 503)
    assert (made.error, made.reasons, made.version) == ("incomplete", ["error"], "1.1")
    assert (made.connection, made.command, made.host) == ("abcdef0123456789", "ngx", None)

    flow["status"] = flow["ttfb"] = 0
    flow["flags"] = abi.enum("ax_flow_flag")["AX_FLOW_NO_TEXT"]
    flow["role"] = abi.enum("ax_role")["AX_ROLE_CLIENT"]
    (made,) = reader.read(flow)
    assert (made.status, made.ttfb, made.path) == (None, None, None)
    assert made.destination == End(address="fd00::2", port=4000)


def test_a_judged_record_names_who_decided(abi: Abi) -> None:
    """Verdict, policy, rule, reason and caller are in words; of what was not judged there is none."""
    verdicts, denials = abi.enum("ax_verdict"), abi.enum("ax_deny")
    reader = Reader(
        abi, lambda _: Who("web", ""), str, lambda n: f"policy {n}", lambda n: f"caller {n}"
    )
    flow = records(
        abi, 4, policy=3, rule=0x0102, ident=17, verdict=verdicts["AX_VERDICT_FORWARDED"]
    )
    flow[1]["verdict"], flow[1]["rule"] = verdicts["AX_VERDICT_DROPPED"], 0xFFFF
    flow[1]["deny"] = denials["AX_DENY_LONG_PATH"]
    flow[1]["flags"] = abi.enum("ax_flow_flag")["AX_FLOW_DENIED"]
    flow[2]["verdict"] = verdicts["AX_VERDICT_NONE"]
    flow[3]["policy"] = 0
    made = [
        (one.verdict, one.policy, one.rule, one.denial, one.caller, one.reasons)
        for one in reader.read(flow)
    ]
    rule = "ingress[1].httpRules[2]"
    assert made == [
        ("forwarded", "policy 3", rule, None, "caller 17", []),
        ("dropped", "policy 3", None, "long_path", "caller 17", ["denied"]),
        (None, None, None, None, None, []),
        ("forwarded", None, rule, None, "caller 17", []),
    ]


def test_the_apis_methods_are_the_kernels(abi: Abi) -> None:
    """Each method of the API is one of the contract, and the reverse."""
    assert set(method_names(abi).values()) == set(METHODS)


NAMED = {7: "web.service", 8: "docker:80", 9: "web.service"}


@pytest.mark.parametrize(
    ("service", "turned", "cgroups", "exact", "negate"),
    [
        ("web.service", False, {7, 9}, True, False),
        ("web.service", True, {7, 9}, True, True),
        ("docker:gone", False, set(), True, False),
        ("python3:8080", False, {7, 8, 9}, False, True),
        ("docker:80", False, {7, 9}, False, True),  # a container, or a process and its port
    ],
)
def test_a_service_is_cgroups_to_the_kernel(
    abi: Abi, service: str, turned: bool, cgroups: set[int], exact: bool, negate: bool
) -> None:
    """A unit or container is its cgroups, or none of them; a process is in no one else's."""
    wanted = FlowFilter(service=service, negate=frozenset({"service"} if turned else ()))
    found = cgroups_for(wanted)
    assert found
    assert (found.which(NAMED), found.exact, found.negate) == (cgroups, exact, negate)
    bit = abi.enum("ax_filter_field")["AX_FILTER_CGROUP"]
    record = compile_filter(abi, wanted, found)
    assert (record["use"], record["negate"]) == (bit, bit if negate else 0)


def test_what_is_not_a_process_may_be_in_any_cgroup(abi: Abi) -> None:
    """Nothing is tested for in the kernel then."""
    turned = FlowFilter(service="python3:8080", negate=frozenset({"service"}))
    assert cgroups_for(turned) is None
    assert compile_filter(abi, turned)["use"] == 0
    assert cgroups_for(FlowFilter()) is None


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        ("address=10.0.0.0/8", True),
        ("address=10.0.0.1/32", True),
        ("address=0.0.0.0/0", True),
        ("address=::/0", True),
        ("address=11.0.0.0/8", False),
        ("address=fd00::/8", True),
        ("address=fd00::3", False),
        ("port=80", True),
        ("server_port=80", True),
        ("server_port=4000", False),
        ("min_duration=0", True),
        ("not=port&port=4000", False),
        ("verdict=dropped", True),
        ("verdict=forwarded,audit", False),
        ("verdict=AUDIT&not=verdict", True),
    ],
)
def test_the_agents_own_filter(abi: Abi, query: str, passed: bool) -> None:
    """Networks of both families, ports of either end, and tests turned round."""
    flow = records(abi, 1, lport=80, rport=4000)
    flow["verdict"] = abi.enum("ax_verdict")["AX_VERDICT_DROPPED"]
    for name, text in (("laddr", "::ffff:10.0.0.1"), ("raddr", "fd00::2")):
        flow[name][0] = np.frombuffer(ipaddress.IPv6Address(text).packed, np.uint8)
    wanted = parse([(k, v) for k, _, v in (part.partition("=") for part in query.split("&"))])
    assert passes(abi, wanted, flow).tolist() == [passed]


def test_a_service_is_named_once_an_end(abi: Abi) -> None:
    """Thousands of records of a few ends ask for a few names."""
    flows = records(abi, 5000, lport=80)
    flows["cgroup"] = np.arange(5000) % 3
    flows["rport"] = np.arange(5000)
    asked = []

    def who(flow: Any) -> Who:
        asked.append(int(flow["cgroup"]))
        return Who(f"unit{flow['cgroup']}", "")

    mask = Reader(abi, who, str).serves(flows, "unit1")
    assert mask.tolist() == [i % 3 == 1 for i in range(5000)]
    assert sorted(asked) == [0, 1, 2]

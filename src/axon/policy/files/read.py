"""Reads policies from YAML's nodes, and refuses what they cannot mean."""

from __future__ import annotations

from axon.policy.files.fields import Access, Fields
from axon.policy.files.peers import EVERY_PORT, PeerReader
from axon.policy.files.requests import RuleReader
from axon.policy.files.selecting import NAME, SelectorReader, Side
from axon.policy.files.source import Node, Scalar, Sequence
from axon.policy.language.labels import NAMESPACE, PORT, SERVICE, Selector
from axon.policy.language.model import ENTRIES, LONGEST_NAME, Ingress, Mode, Policy, Ports
from axon.policy.language.possible import Somebody
from axon.policy.language.problems import Mark, Problems

VERSION = "axon.dev/v1alpha1"
KIND = "L7NetworkPolicy"

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
# What the API server adds is let by, so that what `kubectl get -o yaml` prints can be read.
_METADATA = (
    "name", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation",
    "creationTimestamp", "managedFields", "ownerReferences", "finalizers", "selfLink",
)  # fmt: skip
_SPEC = ("podSelector", "ingress", "mode", "nonHTTP", "policyTypes")
_EGRESS = {
    "egress": "Axon judges requests where they arrive, so select the servers, and name the callers "
    "under ingress.from"
}
_CALLERS = "remove it to allow everybody, or the whole entry to allow nobody"
_PORTS = "remove it to allow every port, or the whole entry to allow none"
_UNPARSED = "remove it to let everything by unparsed, or write [{}] for any request"
_NOBODY = Selector()  # stands where a selector could not be read


class Reader:
    """Makes policies of nodes; what is wrong is added to `problems`."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._access = Access(problems)
        self._selectors = SelectorReader(self._access)
        self._peers = PeerReader(self._access, self._selectors)
        self._rules = RuleReader(self._access)

    def policy(self, root: Node) -> Policy | None:
        """Return a document's policy, or None if it is not usable."""
        before = len(self._problems)
        top = self._access.fields(root, "a policy", _TOP)
        if top is None or not self._is_policy(top):
            return None
        name, namespace = self._names(top)
        spec_node = top.get("spec")
        if spec_node is None:
            self._problems.add(root.mark, "a policy needs a spec", "write spec: {podSelector: {}}")
            return None
        spec = self._access.fields(spec_node, "spec", _SPEC, _EGRESS)
        if spec is None:
            return None
        policy = self._spec(spec, name or "", namespace or NAMESPACE, root.mark)
        return policy if len(self._problems) == before else None

    def _is_policy(self, top: Fields) -> bool:
        ok = True
        for field, wanted in (("apiVersion", VERSION), ("kind", KIND)):
            node = top.get(field)
            if node is None:
                self._problems.add(top.mark, f"{field} is missing", f"write {field}: {wanted}")
                ok = False
            elif self._access.text(node, field) != wanted:
                shown = node.value if isinstance(node, Scalar) else "this"
                self._problems.add(node.mark, f"{field} is {shown}", f"write {field}: {wanted}")
                ok = False
        return ok

    def _names(self, top: Fields) -> tuple[str | None, str | None]:
        """Return name and namespace."""
        node = top.get("metadata")
        if node is None:
            self._problems.add(top.mark, "a policy needs a name", "write metadata: {name: NAME}")
            return None, None
        metadata = self._access.fields(node, "metadata", _METADATA)
        if metadata is None:
            return None, None
        if metadata.get("name") is None:
            self._problems.add(node.mark, "a policy needs a name", "write name: NAME here")
        name, namespace = self._name(metadata, "name"), self._name(metadata, "namespace")
        length = len(f"{namespace or NAMESPACE}/{name or ''}")
        if length > LONGEST_NAME:
            self._problems.add(
                node.mark,
                f"NAMESPACE/NAME is {length} bytes long, and answers and counters carry {LONGEST_NAME}",
                "take a shorter name",
            )
        return name, namespace

    def _name(self, metadata: Fields, field: str) -> str | None:
        node = metadata.get(field)
        text = None if node is None else self._access.text(node, field)
        if node is not None and text is not None and not NAME.fullmatch(text):
            self._problems.add(
                node.mark,
                f"{text!r} is no {field}",
                "write lower-case letters, digits, dashes and dots, a letter or digit at both ends",
            )
        return text

    def _spec(self, spec: Fields, name: str, namespace: str, mark: Mark) -> Policy:
        node = spec.get("podSelector")
        selector = None
        if node is None:
            self._problems.add(
                spec.mark,
                "spec needs a podSelector",
                "write podSelector: {} if all workloads are meant",
            )
        else:
            selector = self._selectors.selector(node, "podSelector", Side.WORKLOAD)
        for item in self._access.items(spec.get("policyTypes"), "policyTypes"):
            if self._access.text(item, "policyTypes") == "Egress":
                self._problems.add(item.mark, "policyTypes has Egress", _EGRESS["egress"])
            else:
                self._access.word(item, "policyTypes", ("Ingress",))
        mode, non_http = spec.get("mode"), spec.get("nonHTTP")
        word = Mode.ENFORCE if mode is None else self._access.word(mode, "mode", tuple(Mode))
        allow = (
            None if non_http is None else self._access.word(non_http, "nonHTTP", ("allow", "deny"))
        )
        ingress = self._few(spec.get("ingress"), "ingress")
        asked = _asked(selector)
        return Policy(
            name=name,
            namespace=namespace,
            selector=selector or _NOBODY,
            ingress=tuple(self._ingress(item, asked) for item in ingress),
            mode=Mode(word or Mode.ENFORCE),
            non_http=allow == "allow",
            mark=mark,
        )

    def _few(self, node: Node | None, what: str) -> list[Node]:
        """Return a list's items, of which there is a bound."""
        items = list(self._access.items(node, what))
        if len(items) > ENTRIES:
            self._problems.add(
                items[ENTRIES].mark,
                f"{what} has {len(items)} entries, and {ENTRIES} can be told apart",
                "write the others into another policy with the same podSelector",
            )
        return items

    def _ingress(self, node: Node, asked: Somebody | None) -> Ingress:
        """Return an entry of a policy for such workloads; None: they may be asked at any port."""
        fields = self._access.fields(node, "an entry of ingress", ("from", "ports", "httpRules"))
        if fields is None:
            return Ingress()
        meant, items = self._access.meant, self._access.items
        from_node, ports_node = meant(fields, "from", _CALLERS), meant(fields, "ports", _PORTS)
        peers = [self._peers.peer(item) for item in items(from_node, "from")]
        ports = [self._ports(item, asked) for item in items(ports_node, "ports")]
        rules_node = meant(fields, "httpRules", _UNPARSED)
        rules = None
        if rules_node is not None:
            rules = tuple(self._rules.rule(item) for item in self._few(rules_node, "httpRules"))
            if isinstance(rules_node, Sequence) and not rules:
                self._problems.add(rules_node.mark, "httpRules without a rule", _UNPARSED)
        open_ports = any(one is not None and one == EVERY_PORT for one in ports)
        return Ingress(
            tuple(peer for peer in peers if peer),
            () if open_ports else tuple(one for one in ports if one),
            rules,
            node.mark,
        )

    def _ports(self, node: Node, asked: Somebody | None) -> Ports | None:
        ports = self._peers.ports(node)
        if ports and asked and not asked.between(*ports):
            names = "another port"
            if not asked.elsewhere:
                names = " or ".join(str(port) for port in sorted(asked.ports) if asked.at(port))
            self._problems.add(
                node.mark,
                f"nobody is asked at {ports}, because podSelector asks for {asked.by}",
                f"write {names}, or remove the entry",
            )
        return ports


def _asked(selector: Selector | None) -> Somebody | None:
    """Return who is selected, if that says anything of the ports that they are asked at."""
    found = (selector or _NOBODY).requirements
    if not any(r.key in {PORT, SERVICE} for r in found):
        return None
    return Somebody(found, server=True)

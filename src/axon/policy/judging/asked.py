"""Who and what a person asks about: `app=frontend,10.0.0.7`, `nginx.service`, `GET /api/users`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from axon.errors import PolicyError
from axon.policy.judging.judge import Caller, Request
from axon.policy.language.labels import COMMAND, CONTAINER, NAMESPACE, PORT, SERVICE, UNIT, Party
from axon.policy.language.model import Address
from axon.policy.parties.dynamic import OTHER, service_of
from axon.policy.parties.given import NOTHING, Given

PORT_IF_NOT_SAID = 80


def workload_of(
    words: Iterable[str], port: int | None, namespace: str = NAMESPACE, given: Given = NOTHING
) -> Party:
    """Return the workload that is meant by `key=value` pairs, or by a service's name.

    `port` is the one that the request arrives at; labels that are `given` to such a workload are
    added. Raise PolicyError for what is neither.
    """
    labels, address = _known(words, server=True)
    if address is not None:
        raise PolicyError(
            f"A workload is known by its labels, not by its address {address}: write "
            "axon.dev/service=NAME or what the user's labels say."
        )
    said = labels.get(PORT)
    if said is None and port is not None:
        labels[PORT] = str(port)
    if COMMAND in labels:
        labels.setdefault(SERVICE, service_of(labels[COMMAND], labels.get(PORT, "")))
    party = Party.of(labels, namespace)
    return given.workload(party, labels.get(COMMAND, OTHER), labels.get(PORT, OTHER))


def caller_of(words: Iterable[str], namespace: str = NAMESPACE, given: Given = NOTHING) -> Caller:
    """Return the caller that is meant by `key=value` pairs, a service's name, an address, or several.

    Labels that are `given` to such a caller are added; those of an address where nothing else is
    said. Nothing at all is somebody unknown.
    """
    labels, address = _known(words, server=False)
    if COMMAND in labels:
        labels.setdefault(SERVICE, service_of(labels[COMMAND], None))
    if labels:
        party = Party.of(labels, namespace)
        return Caller(given.caller(party, labels.get(COMMAND, OTHER)), address)
    return Caller(None if address is None else given.at(address), address)


def labels_of(words: Iterable[str]) -> dict[str, str]:
    """Return the labels that are meant by `key=value` pairs, or by a service's name."""
    return _take(words)[0]


def port_of(workload: Iterable[str], port: int | None) -> int:
    """Return the port of a request: as it was said, else the workload's, else 80."""
    said = _known(workload, server=True)[0].get(PORT, "")
    if port is None:
        return int(said) if said.isascii() and said.isdigit() else PORT_IF_NOT_SAID
    return port


def request_of(method: str, target: str, host: str | None, port: int) -> Request:
    """Return the request that is meant; a target that is no path is denied when it is judged."""
    return Request(method, target.encode(), host, port)


def words_of(text: str) -> list[str]:
    """Return the words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _known(words: Iterable[str], *, server: bool) -> tuple[dict[str, str], Address | None]:
    """Return what words say of a workload or a caller, with what a service's name says of it."""
    labels, address = _take(words)
    return _of_service(labels.get(SERVICE, ""), server=server) | labels, address


def _of_service(name: str, *, server: bool) -> dict[str, str]:
    """Return the labels that Axon gives beside a service's name: of a unit (nginx.service), a container
    (docker:web), a server (python3:8080) or a caller (curl).
    """
    first, colon, last = name.rpartition(":")
    if not colon:
        if name.endswith(".service"):
            return {UNIT: name}
        return {} if server or not name else {COMMAND: name}
    if last.isascii() and last.isdigit() and len(last) <= 5:
        return {COMMAND: first, PORT: last} if server else {}
    return {CONTAINER: name.partition(":")[2]}


def _take(words: Iterable[str]) -> tuple[dict[str, str], Address | None]:
    labels: dict[str, str] = {}
    address: Address | None = None
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            labels[key] = value
        elif re.fullmatch(r"[0-9.]+|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?", word):
            try:
                address = ipaddress.ip_address(word.removeprefix("[").removesuffix("]"))
            except ValueError:
                # `web:8080` is a service; `10.0.0` is a mistake.
                if not re.search(r"[^0-9.]", word):
                    raise PolicyError(
                        f"{word} is no address: write all of it, as in 10.0.0.7."
                    ) from None
                labels[SERVICE] = word
        else:
            labels[SERVICE] = word
    return labels, address

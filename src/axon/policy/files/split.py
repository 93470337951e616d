"""The policies of a file with the text that each is written in, comments included."""

from __future__ import annotations

from axon.errors import PolicyError
from axon.policy.files.load import parse_policies
from axon.policy.language.model import Policy


def split_policies(text: str, file: str) -> list[tuple[Policy, str]]:
    """Return a file's policies, each with a text that says it alone.

    A comment in front of a policy stays with it. Raise PolicyError, which says all that is wrong.
    """
    policies = parse_policies(text, file)
    if len(policies) <= 1:
        return [(policy, text) for policy in policies]
    found: list[str] = []
    waiting = ""
    for part in _parts(text):
        waiting += part
        if _alone(part, file):
            found.append(waiting)
            waiting = ""
    if found and waiting.strip():
        found[-1] += waiting
    if [_alone(one, file) for one in found] != policies:
        raise PolicyError(
            f"{file}: where one policy of it ends and another begins cannot be told: write each "
            "into a file of its own."
        )
    # Marks are those of the whole file, where a person finds them.
    return list(zip(policies, found, strict=True))


def _alone(part: str, file: str) -> Policy | None:
    """Return the policy that a part of a file says by itself, or None."""
    try:
        inside = parse_policies(part, file)
    except PolicyError:
        return None
    return inside[0] if len(inside) == 1 else None


def _parts(text: str) -> list[str]:
    """Cut a text at the lines that end and begin documents (YAML 1.2, section 9.1)."""
    parts = [""]
    for line in text.splitlines(keepends=True):
        mark, rest = line[:3], line[3:]
        if mark in {"---", "..."} and not rest.strip(" \t\r\n"):
            parts.append("")
        elif mark == "---" and rest[0] in " \t":
            parts.append(rest.lstrip(" \t"))
        else:
            parts[-1] += line
    return [part if part.endswith("\n") else f"{part}\n" for part in parts]

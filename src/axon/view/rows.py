"""Which endpoints a view shows, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from axon.api.schema import Endpoint, Role

Key = tuple[str, str, str, str, int, str]


def key_of(row: Endpoint) -> Key:
    """Return what an endpoint is, whatever its numbers are."""
    return (row.service, row.route, row.method, row.namespace, row.port, row.role)


def error_share(row: Endpoint) -> float | None:
    """Return the failed requests among all, 0 to 1."""
    return min(1.0, row.error_rate / row.rate) if row.rate else None


def matcher(text: str) -> Callable[[Endpoint], bool]:
    """Return the test for a filter: every word must occur in the row, and no word behind a ``!``.

    Words are looked for in namespace, service, method and route, in any case.
    """
    words = text.lower().split()
    wanted = [word for word in words if not word.startswith("!")]
    unwanted = [word[1:] for word in words if len(word) > 1 and word.startswith("!")]

    def matches(row: Endpoint) -> bool:
        line = f"{row.namespace} {row.service} {row.method} {row.route}".lower()
        return all(word in line for word in wanted) and not any(word in line for word in unwanted)

    return matches


def select(
    rows: Iterable[Endpoint], *, role: Role | None = None, text: str = "", errors: bool = False
) -> list[Endpoint]:
    """Return the rows of one role (None: of both) that a filter lets through."""
    chosen = [
        row for row in rows if (role is None or row.role == role) and (not errors or row.error_rate)
    ]
    return list(filter(matcher(text), chosen)) if text else chosen

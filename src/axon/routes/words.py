"""What a literal path segment looks like: an identifier, a word of an API, a file."""

from __future__ import annotations

import re

PLACEHOLDERS = frozenset({"{id}", "{uuid}", "{hex}", "{token}"})
"""What the kernel puts in place of a segment: see ax_token_of in bpf/route.h."""

STAR = "{*}"
"""What stands for a learned variable segment. It is written the same way in a file of patterns."""

VERBS = frozenset(
    """
    about account active add admin all api archive auth authorize avatar batch bulk callback cancel
    check config confirm copy count create current default delete details disable download edit
    enable events export favicon.ico feed filter find get graphql health healthz help history home
    hooks image images import index info init invite items jobs latest list live livez lock login
    logout lookup me members meta metrics move new next oauth order password patch permissions ping
    post prev preview profile publish query random ready readyz recent refresh register reload
    remove rename reset restart restore revoke robots.txt run save schema search self send session
    sessions settings setup share signin signup sitemap.xml start state static stats status stop
    stream submit subscribe summary swagger sync tags test token tokens top tree unlock unsubscribe
    update upload users validate verify version versions webhook webhooks whoami
    """.split()  # noqa: SIM905 - words read best as words
)
"""Names that stand beside identifiers and mean something of their own."""

_FILE = re.compile(r".+\.[A-Za-z][A-Za-z0-9]{0,4}")
_WORD = re.compile(r"[A-Za-z]+[0-9]?(?:[-_.][A-Za-z]+[0-9]?){0,2}")
_VERSION = re.compile(r"v[0-9]+(?:[._-]?[0-9a-z]+)*")
_NAMESPACE = re.compile(r"api|rest|rpc|services?|_[a-z]+|v[0-9]+(?:[._-]?[0-9a-z]+)*")


def is_name(segment: str) -> bool:
    """Return whether a segment is never taken for an identifier."""
    return not segment or segment.lower() in VERBS or bool(_VERSION.fullmatch(segment))


def is_file(segment: str) -> bool:
    """Return whether a segment looks like a file's name."""
    return bool(_FILE.fullmatch(segment))


def is_word(segment: str) -> bool:
    """Return whether a segment may be a word of an API: up to three words, no digits to speak of."""
    return len(segment) <= 32 and bool(_WORD.fullmatch(segment))


def is_namespace(segment: str) -> bool:
    """Return whether what stands below a segment are usually words of an API: `/api`, `/v1`."""
    return bool(_NAMESPACE.fullmatch(segment.lower()))

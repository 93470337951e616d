"""Learns which positions of a service's paths are variable: `/users/alice/profile` and some dozens
of its like become `/users/{*}/profile`.

A position is what follows a prefix. The names seen there within one workload are weighed: an
identifier counts in full, a word that may be part of an API for half, a file for a quarter, names
that mean something wherever they stand (`search`, `me`, `v1`) not at all. Above the threshold the
position is variable, for good, and in every workload, since the kernel has one set of patterns for
all. What is known to be a name there is shielded from the templates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from axon.routes.pattern import DEPTH, LONGEST, Pattern
from axon.routes.words import PLACEHOLDERS, STAR, is_file, is_name, is_namespace, is_word

THRESHOLD = 25.0

_MOST_SHIELDED = 16  # at one position: each takes a pattern's place, or two
_CROWDED = 0.8

Path = tuple[str, ...]


class _Node:
    """A position in a workload's paths, or where one of them ends."""

    __slots__ = ("below", "ends")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.ends = False

    @property
    def names(self) -> list[str]:
        """The literal segments that were seen here."""
        return [name for name in self.below if name not in PLACEHOLDERS and name != STAR]

    def at(self, path: Path) -> _Node | None:
        """Return the node that a path leads to, or None."""
        node: _Node | None = self
        for segment in path:
            node = node.below.get(segment) if node else None
        return node

    def absorb(self, other: _Node) -> None:
        """Take in everything that is known of another."""
        self.ends |= other.ends
        for name, node in other.below.items():
            self.below.setdefault(name, _Node()).absorb(node)

    def paths(self, prefix: Path) -> Iterator[Path]:
        """Yield every path that ends here or below."""
        if self.ends:
            yield prefix
        for name, node in self.below.items():
            yield from node.paths((*prefix, name))


class Learner:
    """Takes routes as they are first seen, gives patterns.

    `max_routes` is how many routes the kernel tells apart in a workload: near it every name counts
    in full, because a template says more than `other`. `version` is raised when `patterns` or
    `shields` have changed.
    """

    def __init__(self, *, threshold: float = THRESHOLD, max_routes: int = 200) -> None:
        self.version = 0
        self._threshold = threshold
        self._crowded = _CROWDED * max_routes
        self._roots: dict[Hashable, _Node] = {}
        self._variable: dict[Path, set[str]] = {}
        """The variable positions by their prefix, with the names that are shielded there."""
        self._templates: dict[tuple[str | None, ...], Path] = {}
        """What was learned, by what it matches."""

    @property
    def workloads(self) -> list[Hashable]:
        """The workloads of which something is known."""
        return list(self._roots)

    def see(self, workload: Hashable, text: str) -> None:
        """Take in a route of a workload."""
        root = self._roots.setdefault(workload, _Node())
        path = self._insert(root, tuple(text[1:].split("/")))
        node, at = root, 0
        while at < len(path):
            prefix = path[:at]
            if prefix not in self._variable and self._is_variable(root, node, prefix):
                self._make_variable(workload, prefix)
                path = (*prefix, self._named(prefix, path[at]), *path[at + 1 :])
            node = node.below[path[at]]
            at += 1

    def adopt(self, text: str) -> None:
        """Take over a template that was learned earlier."""
        path = tuple(text[1:].split("/"))
        for at, segment in enumerate(path):
            if segment == STAR:
                self._variable.setdefault(path[:at], set())
        self._learn([path])

    def forget(self, workload: Hashable) -> None:
        """Let go of a workload that is gone. What was learned from it stays."""
        self._roots.pop(workload, None)

    def patterns(self) -> list[Pattern]:
        """Return the templates, those learned first before others."""
        return [Pattern("/" + "/".join(path), match) for match, path in self._templates.items()]

    def shields(self) -> list[Pattern]:
        """Return patterns of what the templates would match and must not."""
        shields = []
        for prefix, names in self._variable.items():
            match, n = _match(prefix), len(prefix)
            lengths = {len(t) for t in self._templates if t[: n + 1] == (*match, None)}
            for name in sorted(names):
                text = "/" + "/".join((*prefix, name))
                if n + 1 in lengths:
                    shields.append(Pattern(text, (*match, name)))
                if name and lengths - {n + 1}:
                    shields.append(Pattern(text + "/**", (*match, name), tail=True))
        return shields

    def _insert(self, root: _Node, segments: Path) -> Path:
        """Put a path into a workload's tree; return it with its variable segments replaced."""
        node, path = root, Path()
        for segment in segments:
            name = self._named(path, segment) if path in self._variable else segment
            node, path = node.below.setdefault(name, _Node()), (*path, name)
        node.ends = True
        if STAR in path:
            self._learn([path])
        return path

    def _named(self, prefix: Path, segment: str) -> str:
        """Return what a segment at a variable position is called."""
        shielded = self._variable[prefix]
        if segment not in shielded:
            if not is_name(segment) or len(shielded) >= _MOST_SHIELDED:
                return STAR
            shielded.add(segment)
            self.version += 1
        return segment

    def _is_variable(self, root: _Node, node: _Node, prefix: Path) -> bool:
        """Return whether so much was seen at a position that it must be variable."""
        names = [name for name in node.names if not is_name(name)]
        if len(names) <= self._threshold:
            return False
        if sum(1 for _ in root.paths(())) >= self._crowded:
            return True
        words = 0.5 if not prefix or is_namespace(prefix[-1]) else 1.0
        common = Counter(below for name in names for below in node.below[name].names)
        shared = {below for below, count in common.items() if 2 * count >= len(names)}
        weight = 0.0
        for name in names:
            if is_file(name) and not node.below[name].below:
                weight += 0.25 * words
            elif not is_word(name):
                weight += 1.0
            elif shared.intersection(node.below[name].below):
                weight += words
            else:
                weight += 0.5 * words
        return weight > self._threshold

    def _make_variable(self, workload: Hashable, prefix: Path) -> None:
        """Make a position variable in every workload."""
        self._variable[prefix] = set()
        nodes = {key: root.at(prefix) for key, root in self._roots.items()}
        here = nodes.pop(workload)
        variable = set(here.names if here else ())
        there = [node for node in (here, *nodes.values()) if node]
        for node in there:
            names = node.names
            # With mostly the same names it is another end of the same requests, or another instance
            # of the service. With names of its own it only happens to have the same prefix.
            same = 2 * len(variable.intersection(names)) >= len(names)
            self._shield(prefix, (n for n in names if is_name(n) or not same))
        # Only now: what is shielded for one workload keeps its place in every other.
        for node in there:
            star = node.below.setdefault(STAR, _Node())
            for name in [n for n in node.below if n != STAR]:
                if name not in self._variable[prefix]:
                    star.absorb(node.below.pop(name))
            self._learn(star.paths((*prefix, STAR)))

    def _shield(self, prefix: Path, names: Iterable[str]) -> None:
        shielded = self._variable[prefix]
        shielded.update(list(names)[: _MOST_SHIELDED - len(shielded)])

    def _learn(self, paths: Iterable[Path]) -> None:
        for path in paths:
            fits = len(path) <= DEPTH and sum(map(len, path)) + len(path) <= LONGEST
            if fits and _match(path) not in self._templates:
                self._templates[_match(path)] = path
                self.version += 1


def _match(path: Path) -> tuple[str | None, ...]:
    """Return the segments of a path as a pattern has them."""
    return tuple(None if s == STAR or s in PLACEHOLDERS else s for s in path)

"""What one workload's rules are for the kernel: a set, as bpf/axon_policy.h lays it out.

An image does not know where in the arena it will lie: `placed` says what its cells are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.errors import PolicyError
from axon.policy.compiler.bitmaps import Cells
from axon.policy.compiler.hashing import Hashes, mixed
from axon.policy.compiler.layout import GLOBS, POINTERS, RULES, SET, Kind, SetFlag
from axon.policy.compiler.sets import Bits, Callers, Who, bits_of
from axon.policy.compiler.tables import arrange
from axon.policy.language.model import Mode, Policy, Rule, rules_of

PORTS = 4096
"""Ports that a workload's rules may name; each is a key of the table."""


@dataclass(frozen=True, slots=True)
class Image:
    """A set: its cells, and its directory entry with numbers of cells counted from its first.

    Number 0 in a pointer is the arena's cell 0 and stays it. `digest` is the same for images that
    are the same.
    """

    cells: NDArray[np.uint64]
    entry: NDArray[Any]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    digest: bytes

    def placed(self, base: int) -> NDArray[np.uint64]:
        """Return the cells for a place in the arena that begins at cell `base`."""
        cells = self.cells.copy()
        cells[self.low] += np.uint64(base)
        cells[self.high] += np.uint64(base << 32)
        return cells


def entries_at(
    images: Sequence[Image], bases: Sequence[int], serials: Sequence[int]
) -> NDArray[Any]:
    """Return the rows of ax_pol_dir for images that begin at these cells of the arena."""
    entries = np.array([image.entry for image in images], SET)
    first = np.array(bases, np.uint32)
    for field in POINTERS:
        entries[field] += np.where(entries[field], first, np.uint32(0))
    entries["serial"] = serials
    return entries


def build(
    policies: Sequence[Policy],
    numbers: Mapping[tuple[str, str], int],
    who: Who,
    hashes: Hashes,
) -> Image:
    """Return the image of a workload that these policies select.

    `numbers` are those of ax_pol_names, `who` says who an entry's peers are. Raise PolicyError where
    a bound is exceeded.
    """
    rules = rules_of(policies)
    bits = bits_of(rules, who)
    _check_bounds(policies, rules, bits)
    cells = Cells()
    entry = np.zeros((), SET)
    entry["rules"] = _rules(cells, rules, numbers)
    wild = [cells.bitmap(b) for b in bits.wild]
    length = [cells.bitmap(b) for b in bits.length]
    for field, value in bits.lone().items():
        entry[field] = cells.bitmap(value)
    keys = list(bits.keys)
    records = _records(cells, bits)
    entry["wild"] = len(cells)
    for at in wild:
        cells.point(at)
    entry["length"] = len(cells)
    for at in length:
        cells.point(at)
    entry["table"] = len(cells)
    hashed = mixed(hashes.texts(text for _, text in keys), (tag for tag, _ in keys))
    table = arrange(hashed)
    entry["mask"] = table.size - 1
    buckets = np.zeros((table.size, 2), np.uint64)
    buckets[table.bucket, 0] = hashed
    buckets[table.bucket, 1] = records
    _describe(entry, policies, numbers, rules, bits)
    whole = np.concatenate((np.frombuffer(cells.cells, np.uint64), buckets.reshape(-1)))
    whole[0] = len(whole)
    digest = blake2b(whole.tobytes() + entry.tobytes(), digest_size=16).digest()
    return Image(
        whole,
        entry,
        np.concatenate((np.array(cells.low, np.int64), len(cells) + 2 * table.bucket + 1)),
        np.array(cells.high, np.int64),
        digest,
    )


def _check_bounds(policies: Sequence[Policy], rules: Sequence[Rule], bits: Bits) -> None:
    globs = sum(bool(rule.http.path and rule.http.path.globs) for rule in rules)
    for count, most, what in (
        (len(rules), RULES, "rules"),
        (globs, GLOBS, "rules with * inside a segment"),
        (bits.ports, PORTS, "ports"),
    ):
        if count > most:
            others = len(policies) - 1
            beside = f" and {others} more that select the same workload have" if others else " has"
            last = max(policies, key=lambda policy: policy.key)
            raise PolicyError(
                f"Policy {last}{beside} {count:,} {what}, and Axon judges a workload by "
                f"{most:,}: merge some, or select fewer workloads. Nothing was changed."
            )


def _rules(cells: Cells, rules: Sequence[Rule], numbers: Mapping[tuple[str, str], int]) -> int:
    """Append the rules' records and their lists of wildcards; return where they begin."""
    first = len(cells)
    for rule in rules:
        cells.cells.extend((numbers[rule.policy.key] | rule.number << 16, 0))
    for i, rule in enumerate(rules):
        globs = rule.http.path.globs if rule.http.path else ()
        if not globs:
            continue
        cells.high.append(first + 2 * i)
        cells.cells[first + 2 * i] |= len(cells) << 32
        for depth, glob in globs:
            cells.cells.append(depth | 1 << 8 | len(glob.prefix) << 16 | len(glob.suffix) << 32)
            cells.text(glob.prefix)
            cells.text(glob.suffix)
        cells.cells.append(0)
    return first  # also where there is none: the cell in front of it is the image's first


def _records(cells: Cells, bits: Bits) -> list[int]:
    """Append the bitmaps of all keys and then their records; return where each of these is."""
    where = [cells.bitmap(value) for value in bits.keys.values()]
    records = []
    for (tag, text), at in zip(bits.keys, where, strict=True):
        records.append(len(cells))
        # struct ax_pol_record: bits, len, kind, sub
        cells.low.append(len(cells))
        cells.cells.append(at | len(text) << 32 | (tag >> 8) << 48 | (tag & 0xFF) << 56)
        cells.text(text)
    return records


def _describe(
    entry: NDArray[Any],
    policies: Sequence[Policy],
    numbers: Mapping[tuple[str, str], int],
    rules: Sequence[Rule],
    bits: Bits,
) -> None:
    """Fill in what a set is beside its bitmaps."""
    enforcing = sorted(p.key for p in policies if p.mode is Mode.ENFORCE)
    auditing = sorted(p.key for p in policies if p.mode is Mode.AUDIT)
    judging = Mode.ENFORCE if enforcing else Mode.AUDIT
    flags = SetFlag(0)
    if enforcing:
        flags |= SetFlag.ENFORCE
        entry["deny"] = numbers[enforcing[0]]
    if auditing:
        flags |= SetFlag.AUDIT
        entry["audit"] = numbers[auditing[0]]
    # What an audit policy lets by allows nothing where another enforces.
    if any(p.non_http for p in policies if p.mode is judging):
        flags |= SetFlag.NON_HTTP
    if any(tag >> 8 == Kind.TAIL for tag, _ in bits.keys):
        flags |= SetFlag.HOST_TAILS
    entry["flags"] = flags
    entry["count"] = len(rules)
    entry["enforce"] = sum(rule.policy.mode is Mode.ENFORCE for rule in rules)


def check(policies: Iterable[Policy]) -> None:
    """Raise PolicyError if a policy alone exceeds a bound of a workload."""
    for policy in policies:
        rules = rules_of([policy])
        _check_bounds([policy], rules, bits_of(rules, lambda *_: Callers()))

"""Looks at the kernel's counters once a second. What has not changed costs next to nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from axon.snapshot.admission import Admitting, withdraw_unused
from axon.snapshot.layout import Layout
from axon.snapshot.ledger import Ledger
from axon.snapshot.model import Snapshot
from axon.snapshot.retire import Retirer, Slots
from axon.snapshot.sparse import SHIFT, Rows
from axon.snapshot.table import Table
from axon.snapshot.window import Change, Ring, Window

_AGE_NS = 1_000_000_000
_WITHDRAW_EVERY_NS = 10_000_000_000
_WRITTEN_NS = 1_000_000  # a program writes a slot's entry at once: by this age it is complete


class Kernel(Slots, Admitting, Protocol):
    """The part of the kernel's interface that a look needs."""

    ctl: NDArray[Any]

    def used_slots(self) -> int:
        """Return one more than the highest slot that was ever in use."""
        ...

    def stats(self) -> NDArray[np.uint64]:
        """Return the counters of `ax_stat`."""
        ...


class Collector:
    """Turns the kernel's maps into snapshots, and retires what has fallen silent.

    `window_seconds` is the window of rates and percentiles, `ledger` the file of retired totals,
    `clock` CLOCK_MONOTONIC in ns. Call `tick` about once a second, always from the same thread.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        ledger: Path,
        window_seconds: float = 10.0,
        idle_seconds: float = 600.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._kernel = kernel
        self._clock = clock
        self._layout = Layout.of(kernel.abi.cell)
        self._table = Table(self._layout.first)
        self._ring = Ring(self._layout, window_seconds)
        roles = kernel.abi.enum("ax_role")
        self._ledger = Ledger(
            ledger,
            maps=_digest(kernel.ctl["secret"]),
            cell=kernel.abi.cell,
            roles={"server": roles["AX_ROLE_SERVER"], "client": roles["AX_ROLE_CLIENT"]},
        )
        self._retirer = Retirer(kernel, self._layout, self._ledger, idle_seconds)
        self._retirer.recover()
        self._last: Snapshot | None = None
        self._left = True
        """Whether series have left since the kernel was last told what no series has any more."""
        self._next_withdrawal = 0

    @property
    def problem(self) -> str | None:
        """What keeps series from being retired, and what to do about it; or None."""
        return self._ledger.problem

    def hurry(self, slots: Rows) -> None:
        """Let series go once they are silent for two seconds: others have taken their place."""
        self._table.hurried[slots] = True

    def tick(self) -> Snapshot:
        """Look once."""
        now = self._clock()
        used = self._kernel.used_slots()
        self._table.reserve(used)
        came, went = self._follow(used, now)
        window = self._ring.push(self._read(used, now))
        freed = self._retirer.finish(self._table, now)
        if len(freed):
            self._table.drop(freed)
            window = self._ring.forget(freed)
        left = self._retirer.start(self._table, now)
        self._left |= len(left) > 0
        look = self._snapshot(now, window, came, same=not (went or len(left) or len(came)))
        if self._left and now >= self._next_withdrawal:
            withdraw_unused(self._kernel, look.keys)
            self._left, self._next_withdrawal = False, now + _WITHDRAW_EVERY_NS
        self._last = look
        return look

    def _follow(self, used: int, now: int) -> tuple[Rows, bool]:
        """Take in series that have begun; return them, and whether others are no more."""
        table, entries = self._table, self._kernel.slots(used)
        created, live = entries["created"].copy(), table.live[:used]
        # Only this agent takes slots back, but a program gives one back at once if another CPU has
        # made the same series meanwhile.
        same = (created == table.created[:used]) & (entries["gen"] == table.gen[:used])
        lost = np.flatnonzero(live & ~same)
        table.drop(lost)
        if len(lost):
            self._ring.forget(lost)
        written = (created != 0) & (created.astype(np.int64) <= now - _WRITTEN_NS)
        new = np.flatnonzero(written & ~live)
        # What an earlier agent has left may be silent for long: that it lives is not news.
        table.admit(new, entries[new], now if self._last is not None else now - _AGE_NS)
        return new, len(lost) > 0

    def _read(self, used: int, now: int) -> Change:
        """Read what has changed since the last look into the table; return the differences."""
        table, layout = self._table, self._layout
        looked = [np.zeros(0, np.intp)]
        sums = [np.zeros((0, layout.first), np.uint64)]
        keys = [np.zeros(0, np.uint32)]
        values = [np.zeros(0, np.uint64)]
        block = layout.block(self._kernel.shards)
        for low in range(0, used, block):
            here = slice(low, min(low + block, used))
            if not table.live[here].any():
                continue
            cells = self._kernel.cells(here.stop - low, low)
            shards = [layout.as_words(shard) for shard in cells]
            seen = _added([shard[:, : layout.first] for shard in shards])
            grown = seen - table.sums[here]
            changed = grown.any(axis=1) & table.live[here]
            rows = np.flatnonzero(changed | table.unsettled[here])
            table.unsettled[here] = changed
            if not len(rows):
                continue
            slots = rows + low
            counts = _added([shard[rows, layout.first :] for shard in shards])
            filled = counts != 0
            full = np.flatnonzero(filled)
            # The key of each row's first bucket, less that bucket's place among all.
            base = (slots << SHIFT) - np.arange(len(slots)) * layout.width
            each = np.count_nonzero(filled, axis=1)
            keys.append((full + np.repeat(base, each)).astype(np.uint32))
            values.append(counts.ravel()[full])
            looked.append(slots)
            sums.append(grown[rows])
            table.sums[slots] = seen[rows]
            if self._last is not None:
                table.active[low + np.flatnonzero(changed)] = now
        return self._merge(
            now,
            np.concatenate(looked),
            np.concatenate(sums),
            np.concatenate(keys),
            np.concatenate(values),
        )

    def _merge(
        self,
        now: int,
        slots: Rows,
        sums: NDArray[np.uint64],
        keys: NDArray[np.uint32],
        values: NDArray[np.uint64],
    ) -> Change:
        """Put new counts of some slots into the table; return by how much they have grown."""
        table, hist = self._table, self._layout.buckets["hist"]
        table.buckets, grown = table.buckets.replaced(keys, values)
        moved = np.flatnonzero(grown)
        keys, grown = keys[moved], grown[moved]
        bucket = keys & 0xFF
        requests = (bucket >= hist.start) & (bucket < hist.stop)
        by_slot = np.bincount(keys[requests] >> SHIFT, grown[requests], len(table))
        counts = by_slot[slots].astype(np.uint64)
        table.count[slots] += counts
        if self._last is None:
            # What was counted before the first look is no part of any window. Copies of nothing: a
            # view would keep everything for as long as the window.
            return Change(
                now,
                now,
                slots[:0].copy(),
                counts[:0].copy(),
                sums[:0].copy(),
                keys[:0].copy(),
                grown[:0].copy(),
            )
        # Of what was looked at only to be sure, nothing stays.
        more = (counts > 0) | sums.any(axis=1)
        if not more.all():
            slots, counts, sums = slots[more], counts[more], sums[more]
        # Mostly a byte each: a window is ten or more of these.
        small = grown.astype(np.min_scalar_type(grown.max(initial=0)))
        return Change(self._last.t_ns, now, slots, counts, sums, keys, small)

    def _snapshot(self, now: int, window: Window, came: Rows, *, same: bool) -> Snapshot:
        table, last = self._table, self._last
        if last is None or not same:
            slots = np.flatnonzero(table.live & ~table.leaving)
            entries = self._kernel.slots(int(slots.max(initial=-1)) + 1)
            epoch = 1 if last is None else last.epoch + 1
            names = (
                table.gen[slots],
                entries["key"][slots],
                table.created[slots],
                entries["pid"][slots],
            )
        else:
            slots, epoch = last.slots, last.epoch
            names = (last.gens, last.keys, last.created, last.pids)
        gens, keys, created, pids = names
        return Snapshot(
            t_ns=now,
            epoch=epoch,
            slots=slots,
            gens=gens,
            keys=keys,
            created=created,
            pids=pids,
            fresh=np.searchsorted(slots, came),
            count=table.count[slots],
            sums=table.sums[slots],
            retired=self._retired(),
            stats=self._kernel.stats(),
            taken=int(table.live.sum()),
            max_series=self._kernel.max_series,
            window=window,
            layout=self._layout,
            buckets=table.buckets,
        )

    def _retired(self) -> NDArray[Any]:
        """Return what the ledger holds and what is on its way there, by role."""
        totals = self._ledger.totals.copy()
        leaving = np.flatnonzero(self._table.leaving)
        if len(leaving):
            words, layout = self._layout.as_words(totals), self._layout
            role = self._table.role[leaving]
            np.add.at(words[:, : layout.first], role, self._table.sums[leaving])
            dense = self._table.buckets.dense(leaving, range(layout.width))
            np.add.at(words[:, layout.first :], role, dense)
        return totals


def _added(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the sum of equal arrays, in memory of its own."""
    total = np.array(parts[0])
    for part in parts[1:]:
        total += part
    return total


def _digest(secret: NDArray[Any]) -> str:
    """Return a name for a set of maps, from the secret drawn with them, which it does not tell."""
    return blake2b(secret.tobytes(), digest_size=16, person=b"axon-ledger").hexdigest()

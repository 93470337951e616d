/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* series.h - counting a finished request: which series, which bucket. */
#ifndef AX_SERIES_H
#define AX_SERIES_H

#include "conn.h"

/* (2^(j/8) - 1) * 2^32 for j = 1..7: where an octave's buckets begin. ax_guess[] is how many of them lie at or
 * below each sixteenth of the octave; a sixteenth holds at most one more, so one comparison settles it. */
static const u32 ax_octave[8] = {
	388727752, 812638371, 1274916179, 1779033704, 2328777763u, 2928277910u, 3582037456u, 0xffffffffu,
};
static const u8 ax_guess[16] = { 0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7 };

/* Bucket of a duration in ns: see AX_BUCKETS in axon.h. */
static __always_inline u32 ax_bucket(u64 ns)
{
	u64 x, v;
	u32 e, frac, j;

	if (ns > 120000000000ULL)
		return AX_BUCKETS - 1;
	x = ns * 72057594 >> 26;	/* units of 2^-30 s: 2^30 / 10^9 = 72057594.04 / 2^26 */
	if (x < 1024)
		return 0;
	v = x;
	e = 0;
	if (v >> 32) { v >>= 32; e += 32; }
	if (v >> 16) { v >>= 16; e += 16; }
	if (v >> 8) { v >>= 8; e += 8; }
	if (v >> 4) { v >>= 4; e += 4; }
	if (v >> 2) { v >>= 2; e += 2; }
	e += v >> 1;
	frac = e >= 32 ? (u32)(x >> (e - 32)) : (u32)(x << (32 - e));
	j = ax_guess[frac >> 28];
	j += frac >= ax_octave[j & 7];
	e = (e - 10) * 8 + j + 1;
	return e < AX_BUCKETS - 1 ? e : AX_BUCKETS - 1;
}

static __always_inline u32 ax_size_bucket(u64 bytes)
{
	u32 i = 1;

#pragma clang loop unroll(full)
	for (int k = 1; k < AX_SIZES - 1; k++)
		i += bytes > (64ULL << 2 * k);
	return i;
}

static __always_inline u32 ax_shard(u32 slot)
{
	return (bpf_get_smp_processor_id() & ax_config.shard_mask) * ax_config.max_series + slot;
}

/* Adds a finished request to its cell. */
static __always_inline void ax_add(u32 slot, const struct ax_done *q)
{
	u32 i = ax_shard(slot);
	struct ax_cell *cell = bpf_map_lookup_elem(&ax_cells, &i);
	u32 b = ax_bucket(q->duration);

	if (!cell || b >= AX_BUCKETS)
		return;
	__sync_fetch_and_add(&cell->hist[b], 1);
	__sync_fetch_and_add(&cell->dur_sum, q->duration);
	if (q->ttfb)
		__sync_fetch_and_add(&cell->ttfb_sum, q->ttfb);
	__sync_fetch_and_add(&cell->req_wire, q->req_wire);
	if (q->resp_wire)
		__sync_fetch_and_add(&cell->resp_wire, q->resp_wire);
	if (q->req_body) {
		__sync_fetch_and_add(&cell->req_body, q->req_body);
		__sync_fetch_and_add(&cell->req_size[ax_size_bucket(q->req_body)], 1);
	}
	if (q->resp_body) {
		__sync_fetch_and_add(&cell->resp_body, q->resp_body);
		__sync_fetch_and_add(&cell->resp_size[ax_size_bucket(q->resp_body)], 1);
	}
}

/* Is the series that the connection used last this request's too, and still alive? */
static __always_inline int ax_slot_holds(const struct ax_conn *c, const struct ax_done *q)
{
	struct ax_slot *s;
	u32 slot = c->slot;

	if (!slot || c->slot_route != q->route || c->slot_status != q->status ||
	    c->slot_method != q->method || c->slot_flags != (q->version | q->error << 1))
		return 0;
	s = bpf_map_lookup_elem(&ax_slots, &slot);
	return s && s->gen == c->gen;
}

/* Finds or takes the slot of w->key, and its generation; w->done.first says if it is new. Slots come from a queue that user space
 * refills: a kernel of 5.10 has no atomic that returns what it found. */
AX_GLOBAL int ax_slot_of(u32 lvl, u32 pid)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_ref *ref, fresh;
	struct ax_slot *s;
	u32 slot = 0;

	if (!w)
		return 0;
	ref = bpf_map_lookup_elem(&ax_series, &w->key);
	if (ref) {
		w->gen = ref->gen;
		return ref->slot;
	}
	if (w->key.route > AX_ROUTE_NONE && !ax_admit(w, &w->key, 0, w->key.route, 0)) {
		ax_count(AX_INFO_OTHER_ROUTE);
		w->key.route = AX_ROUTE_OTHER;
		ref = bpf_map_lookup_elem(&ax_series, &w->key);
		if (ref) {
			w->gen = ref->gen;
			return ref->slot;
		}
	}
	if (bpf_map_pop_elem(&ax_free, &slot))
		goto full;
	s = bpf_map_lookup_elem(&ax_slots, &slot);
	if (!s)
		goto full;
	fresh.slot = slot;
	fresh.gen = s->gen;
	s->key = w->key;
	s->pid = pid;
	s->created = ax_now(w);
	if (bpf_map_update_elem(&ax_series, &w->key, &fresh, BPF_NOEXIST)) {
		s->created = 0;
		bpf_map_push_elem(&ax_free, &slot, 0);
		ref = bpf_map_lookup_elem(&ax_series, &w->key);
		if (!ref)
			goto full;
		w->gen = ref->gen;
		return ref->slot;
	}
	w->gen = fresh.gen;
	w->done.first = 1;
	return slot;
full:
	ax_count(AX_INFO_OTHER_SERIES);
	w->gen = 0;
	return w->key.role == AX_ROLE_SERVER ? AX_SLOT_OTHER_SERVER : AX_SLOT_OTHER_CLIENT;
}

/* Counts w->done for this connection, looking its series up only if it is another than last time. */
static __always_inline void ax_account_body(struct ax_work *w, u32 lvl, struct ax_conn *c, struct ax_cold *cold)
{
	struct ax_done *q = &w->done;
	u32 slot = c->slot;

	q->first = 0;
	if (!ax_slot_holds(c, q)) {
		w->key = cold->key;
		w->key.route = q->route;
		w->key.status = q->status;
		w->key.method = q->method;
		w->key.version = q->version;
		w->key.error = q->error;
		slot = ax_slot_of(lvl, cold->pid);
		if (slot >= AX_SLOT_FIRST) {
			c->slot_route = q->route;
			c->slot_status = q->status;
			c->slot_method = q->method;
			c->slot_flags = q->version | q->error << 1;
			c->gen = w->gen;
			c->slot = slot;
		} else {
			c->slot = 0;
		}
	}
	ax_add(slot, q);
}

#endif

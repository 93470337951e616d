/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* series.h - counting a finished request: which series. */
#ifndef AX_SERIES_H
#define AX_SERIES_H

#include "buckets.h"
#include "conn.h"

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

/* The same for w->done, verified by itself: inside a loop its comparisons would be followed anew at every turn. */
AX_GLOBAL int ax_add_of(u32 lvl, u32 slot)
{
	struct ax_work *w = ax_area(lvl);

	if (!w)
		return -1;
	ax_add(slot, &w->done);
	return 0;
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

/* Finds or takes the slot of w->key, and its generation; w->done.first says if it is new. In w->slot and w->gen is the
 * connection's last one. Slots come from a stack that user space refills: a kernel of 5.10 has no atomic that returns
 * what it found. */
AX_GLOBAL int ax_slot_of(u32 lvl, u32 pid)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_ref *ref, fresh;
	struct ax_slot *s;
	u32 slot = 0;

	if (!w)
		return 0;
	s = bpf_map_lookup_elem(&ax_slots, &w->slot);
	if (s && s->gen != w->gen)
		ax_count(AX_INFO_STALE_SLOT);
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
		w->slot = slot;
		w->gen = c->gen;
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
	ax_add_of(lvl, slot);
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* maps.h - every map, once. Sizes of 1 are set by the loader. */
#ifndef AX_MAPS_H
#define AX_MAPS_H

#include "state.h"

#define AX_SK_MAP(name, value_t, flags)					\
	struct {							\
		__uint(type, BPF_MAP_TYPE_SK_STORAGE);			\
		__uint(map_flags, BPF_F_NO_PREALLOC | (flags));		\
		__type(key, int);					\
		__type(value, value_t);					\
	} name SEC(".maps")

#define AX_MAP(name, map_t, key_t, value_t, entries, flags)		\
	struct {							\
		__uint(type, map_t);					\
		__uint(max_entries, entries);				\
		__uint(map_flags, flags);				\
		__type(key, key_t);					\
		__type(value, value_t);					\
	} name SEC(".maps")

/* a socket's own: freed with it */
AX_SK_MAP(ax_conns, struct ax_conn, 0);
AX_SK_MAP(ax_cold, struct ax_cold, 0);
AX_SK_MAP(ax_pipe, struct ax_pipe, 0);
AX_SK_MAP(ax_carry, struct ax_carry, 0);
AX_SK_MAP(ax_ooo, struct ax_ooo, 0);
AX_SK_MAP(ax_owner, struct ax_owner, BPF_F_CLONE);	/* a child inherits its listener's */

AX_MAP(ax_stash, BPF_MAP_TYPE_LRU_HASH, struct ax_chunk_key, struct ax_chunk, 1024, 0);
AX_MAP(ax_work, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct ax_work, AX_NEST, 0);
AX_MAP(ax_stats, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64[AX_STATS], 1, 0);

AX_MAP(ax_cells, BPF_MAP_TYPE_ARRAY, u32, struct ax_cell, 1, BPF_F_MMAPABLE);
AX_MAP(ax_slots, BPF_MAP_TYPE_ARRAY, u32, struct ax_slot, 1, BPF_F_MMAPABLE);
AX_MAP(ax_series, BPF_MAP_TYPE_HASH, struct ax_key, struct ax_ref, 1, 0);
AX_MAP(ax_routes, BPF_MAP_TYPE_HASH, u64, struct ax_route, 4096, 0);
AX_MAP(ax_wl, BPF_MAP_TYPE_HASH, struct ax_wl_key, struct ax_wl, 4096, 0);
AX_MAP(ax_wl_seen, BPF_MAP_TYPE_HASH, struct ax_wl_seen, u32, 16384, 0);

/* a stack: slots that were used before are used again first, and stay few */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 1);
	__type(value, u32);
} ax_free SEC(".maps");

AX_MAP(ax_ctl, BPF_MAP_TYPE_ARRAY, u32, struct ax_ctl, 1, BPF_F_MMAPABLE);
AX_MAP(ax_filters, BPF_MAP_TYPE_ARRAY, u32, struct ax_filter, AX_FILTERS, BPF_F_MMAPABLE);
AX_MAP(ax_sought, BPF_MAP_TYPE_HASH, struct ax_sought, u32, 1024, 0);
AX_MAP(ax_rt_set, BPF_MAP_TYPE_ARRAY, u32, struct ax_rt_set, AX_RT_SETS, 0);
AX_MAP(ax_rt_seg, BPF_MAP_TYPE_HASH, struct ax_rt_key, struct ax_rt_bits, 8192, 0);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ax_flows SEC(".maps");

const volatile struct ax_config ax_config = {
	.max_series = 1, .max_routes = 200, .max_peers = 32, .server = 1, .client = 1, .peers = 1,
};

static __always_inline struct ax_work *ax_area(u32 lvl)
{
	return bpf_map_lookup_elem(&ax_work, &lvl);
}

static __always_inline struct ax_ctl *ax_control(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&ax_ctl, &zero);
}

static __always_inline void ax_count_n(u32 what, u64 n)
{
	u32 zero = 0;
	u64 *s = bpf_map_lookup_elem(&ax_stats, &zero);

	if (s)
		__sync_fetch_and_add(&s[what & (AX_STATS - 1)], n);
}

static __always_inline void ax_count(u32 what)
{
	ax_count_n(what, 1);
}

/* Takes a work area of this CPU that no run below us holds. An interrupt between the look and the claim gives
 * its area back before we go on; a task that preempts us there may not, which the owner tells (AX_LOST_NESTED). */
static __always_inline struct ax_work *ax_claim(u64 who, u32 *lvl)
{
	struct ax_work *w;

	*lvl = 0;
	w = ax_area(0);
	if (AX_LIKELY(w && !w->owner))
		goto mine;
#pragma clang loop unroll(full)
	for (u32 i = 1; i < AX_NEST; i++) {
		w = ax_area(i);
		if (w && !w->owner) {
			*lvl = i;
			ax_count(AX_INFO_NEST);
			goto mine;
		}
	}
	ax_count(AX_LOST_NESTED);
	return 0;
mine:
	w->owner = who;
	return w;
}

/* When the packet was sent, without asking the clock: TCP notes the time of every segment that it sends (its earliest
 * departure, CLOCK_MONOTONIC; Linux 4.20, commit d3edd06ea8ea). 0 for a packet that arrives: ask the clock then. */
static __always_inline u64 ax_sent(struct __sk_buff *skb, u32 dir)
{
	return dir ? skb->tstamp : 0;
}

static __always_inline u64 ax_now(struct ax_work *w)
{
	if (!w->now)
		w->now = bpf_ktime_get_ns();
	return w->now;
}

/* ns from one to the other. Not below 0: a segment may be stamped on one core while a request that its answer is then
 * taken for arrives on another. */
static __always_inline u64 ax_since(u64 from, u64 to)
{
	return (s64)(to - from) < 0 ? 0 : to - from;
}

#endif

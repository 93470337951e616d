// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * A data plane without a parser: the maps of the real one, and programs that let every packet pass
 * and do next to nothing. The loader's tests attach it, take it over and upgrade it. With -DOLD it
 * is what an older Axon could have left behind: fewer buckets, fields in other places, maps missing.
 *
 * ax_ingress counts each packet in bucket 1 of slot BUMP's cell; ax_egress writes a flow record for
 * each packet, numbered from 0, and throws every fourth one away.
 */
#ifndef OLD
#include "maps.h"
#define LAYOUT AX_LAYOUT
#else
#define ax_cell ax_cell_of_today
#include "platform.h"
#undef ax_cell
#define LAYOUT (AX_LAYOUT + 1000)

struct ax_cell {
	u64 hist[100];
	u64 resp_body;
	u64 req_body;
	u64 dur_sum;
};

#define TABLE(name, kind, k, v, entries, flags) \
	struct { \
		__uint(type, kind); \
		__uint(map_flags, flags); \
		__uint(max_entries, entries); \
		__type(key, k); \
		__type(value, v); \
	} name SEC(".maps")

TABLE(ax_cells, BPF_MAP_TYPE_ARRAY, u32, struct ax_cell, 1, BPF_F_MMAPABLE);
TABLE(ax_slots, BPF_MAP_TYPE_ARRAY, u32, struct ax_slot, 1, BPF_F_MMAPABLE);
TABLE(ax_series, BPF_MAP_TYPE_HASH, struct ax_key, struct ax_ref, 1, 0);
TABLE(ax_routes, BPF_MAP_TYPE_HASH, u64, struct ax_route, 512, 0);
TABLE(ax_stats, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64[AX_STATS], 1, 0);
TABLE(ax_ctl, BPF_MAP_TYPE_ARRAY, u32, struct ax_ctl, 1, BPF_F_MMAPABLE);
TABLE(ax_filters, BPF_MAP_TYPE_ARRAY, u32, struct ax_filter, AX_FILTERS, BPF_F_MMAPABLE);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, u32);
} ax_free SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} ax_flows SEC(".maps");

const volatile struct ax_config ax_config;
#endif

/* What the real object describes beside its maps, in the same way. */
struct ax_contract {
	u8 layout[LAYOUT];
	struct ax_flow flow;
	struct ax_active active;
	struct ax_open open;
	enum ax_role role;
	enum ax_method method;
	enum ax_version version;
	enum ax_error error;
	enum ax_kind kind;
	enum ax_stat stat;
	enum ax_flow_flag flag;
	enum ax_filter_field field;
	enum ax_feature feature;
#ifdef OLD
	struct ax_wl_seen wl_seen;
	struct ax_wl wl;
	struct ax_rt_key rt_key;
	struct ax_rt_bits rt_bits;
	struct ax_rt_set rt_set;
#endif
};

AX_GLOBAL int ax_contract(const struct ax_contract *all)
{
	return !all;
}

#define BUMP 0

static u32 sent;

SEC("cgroup_skb/ingress")
int ax_ingress(struct __sk_buff *skb)
{
	u32 slot = BUMP;
	struct ax_cell *cell = bpf_map_lookup_elem(&ax_cells, &slot);
	u64 *stats = bpf_map_lookup_elem(&ax_stats, &slot);

	if (cell && ax_config.server)
		__sync_fetch_and_add(&cell->hist[1], 1);
	if (stats)
		__sync_fetch_and_add(&stats[AX_INFO_FLOWS], 1);
	return 1;
}

SEC("cgroup_skb/egress")
int ax_egress(struct __sk_buff *skb)
{
	struct ax_flow *flow = bpf_ringbuf_reserve(&ax_flows, sizeof(*flow), 0);

	if (!flow) {
		u32 zero = 0;
		u64 *stats = bpf_map_lookup_elem(&ax_stats, &zero);

		if (stats)
			__sync_fetch_and_add(&stats[AX_DROP_FLOW_RING], 1);
		return 1;
	}
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->number = sent++;
	flow->duration = skb->len;
	if ((flow->number & 3) == 3)
		bpf_ringbuf_discard(flow, 0);
	else
		bpf_ringbuf_submit(flow, 0);
	return 1;
}

SEC("sockops")
int ax_sockops(struct bpf_sock_ops *ops)
{
	return 1;
}

SEC("cgroup/connect4")
int ax_connect4(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/connect6")
int ax_connect6(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/bind4")
int ax_bind4(struct bpf_sock_addr *ctx)
{
	return 1;
}

#ifndef OLD
SEC("cgroup/bind6")
int ax_bind6(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/sock_release")
int ax_release(struct bpf_sock *sk)
{
#ifdef REFUSED	/* reads beyond the context: the verifier refuses it */
	return *(volatile int *)((char *)sk + 4096);
#else
	return 1;
#endif
}
#endif

char ax_license[] SEC("license") = "Dual MIT/GPL";

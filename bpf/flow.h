/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* flow.h - telling user space of single requests, within a rate bound: errors and slow ones before others. */
#ifndef AX_FLOW_H
#define AX_FLOW_H

#include "conn.h"
#include "gates.h"

/* A rate bound without a bucket to fill: may the event at `now` pass, if one passes every `interval` ns and
 * up to eight may come at once (the generic cell rate algorithm of ATM, ITU-T I.371)? */
static __always_inline int ax_pass(u64 *next, u64 now, u64 interval)
{
	u64 due = *next, floor = now > 8 * interval ? now - 8 * interval : 0;

	if (!interval || due > now)
		return 0;
	*next = (due > floor ? due : floor) + interval;
	return 1;
}

static __always_inline int ax_same_bits(const u8 *a, const u8 *b, u32 bits)
{
	u64 x, y;

	x = bpf_be64_to_cpu(*(u64 *)a ^ *(u64 *)b);
	y = bpf_be64_to_cpu(*(u64 *)(a + 8) ^ *(u64 *)(b + 8));
	if (bits >= 128)
		return !x && !y;
	if (bits > 64)
		return !x && !(y >> (128 - bits));
	return !bits || !(x >> ((64 - bits) & 63));
}

/* Does the kept path begin with the filter's? */
static __always_inline int ax_path_begins(const struct ax_work *w, const struct ax_filter *f)
{
	u32 n = f->path_len;

	if (!(w->done.q_flags & AX_Q_TEXT) || w->cold.path_len < n)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 k = 0; k < AX_FILTER_TEXT / 8; k++) {
		u64 x;

		if (k * 8 >= n)
			break;
		x = *(u64 *)(w->cold.path + k * 8) ^ *(u64 *)(f->path + k * 8);
		if (n - k * 8 < 8)
			x &= (1ULL << ((n - k * 8) & 7) * 8) - 1;
		if (x)
			return 0;
	}
	return 1;
}

/* Is the request's cgroup one of those that filter `i` is about? */
static __always_inline int ax_is_sought(const struct ax_work *w, u32 i)
{
	struct ax_sought key = { .cgroup = w->cold.key.cgroup, .filter = i };

	return bpf_map_lookup_elem(&ax_sought, &key) != 0;
}

/* Does the finished request match filter `i`, and may it be shown? Every request that matches is counted. */
AX_GLOBAL int ax_observe(u32 lvl, u32 i)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_filter *f = bpf_map_lookup_elem(&ax_filters, &i);
	const struct ax_cold *cold;
	const struct ax_done *q;

	if (!w || !f || !f->active)
		return 0;
	q = &w->done;
	cold = &w->cold;
	/* the bits gather in memory: in a register the verifier would follow every combination of them */
	w->hit = 0;
#define AX_HIT(field, test) do { if (test) w->hit |= (field); } while (0)
	AX_HIT(AX_FILTER_METHOD, f->methods >> (q->method & 31) & 1);
	AX_HIT(AX_FILTER_STATUS, q->status >= f->status_min && q->status <= f->status_max);
	AX_HIT(AX_FILTER_PORT, cold->lport == f->port || cold->rport == f->port);
	AX_HIT(AX_FILTER_LPORT, cold->key.port == f->lport);
	AX_HIT(AX_FILTER_DURATION, q->duration >= f->min_ns);
	AX_HIT(AX_FILTER_ROLE, cold->key.role == f->role);
	AX_HIT(AX_FILTER_CGROUP, (f->use & AX_FILTER_CGROUP) && ax_is_sought(w, i));
	AX_HIT(AX_FILTER_ERROR, w->failed);
	AX_HIT(AX_FILTER_VERDICT, f->verdicts >> (w->told.verdict & 31) & 1);
	AX_HIT(AX_FILTER_ADDR, ax_same_bits(cold->laddr, f->addr, f->addr_bits) ||
				       ax_same_bits(cold->raddr, f->addr, f->addr_bits));
	AX_HIT(AX_FILTER_COMM, *(u64 *)cold->key.comm == *(u64 *)f->comm &&
				       *(u64 *)(cold->key.comm + 8) == *(u64 *)(f->comm + 8));
	AX_HIT(AX_FILTER_PATH, (f->use & AX_FILTER_PATH) && ax_path_begins(w, f));
#undef AX_HIT
	if (((w->hit ^ f->negate) & f->use) != f->use)
		return 0;
	__sync_fetch_and_add(&f->matched, 1);
	if (f->interval && !ax_pass(&f->next, ax_now(w), f->interval))
		return 0;
	__sync_fetch_and_add(&f->shown, 1);
	w->seen |= 1 << (i & 7);
	return 1;
}

/* Writes the record of w->done if anybody should see it. */
AX_GLOBAL int ax_tell_of(u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_ctl *ctl = ax_control();
	const struct ax_cold *cold;
	struct ax_done *q;
	u32 slow, failed, denied, sampled = 0;
	struct ax_flow *f;

	if (!w || !ctl)
		return 0;
	q = &w->done;
	cold = &w->cold;
	failed = q->status >= 500 || q->error;
	w->failed = failed;
	denied = w->told.verdict >= AX_VERDICT_AUDIT;
	w->seen = 0;
	slow = ctl->slow_ns && q->duration >= ctl->slow_ns;
	if (ctl->filters) {
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_FILTERS; i++)
			ax_observe(lvl, i);
	}
	if (failed || slow || denied)
		sampled = ax_pass(&w->next_error, ax_now(w), ctl->error_interval);
	if (q->first)
		sampled = 1;	/* as many as there are series: bounded without a clock */
	if (!sampled)
		sampled = ax_pass(&w->next_flow, ax_now(w), ctl->flow_interval);
	if (!w->seen && !sampled) {
		if (failed || slow || denied)
			ax_count(AX_DROP_FLOW_RATE);
		return 0;
	}
	f = bpf_ringbuf_reserve(&ax_flows, sizeof(*f), 0);
	if (!f) {
		ax_count(AX_DROP_FLOW_RING);
		return 0;
	}
	f->start = q->t0;
	f->duration = q->duration;
	f->ttfb = q->ttfb;
	f->req_body = q->req_body;
	f->resp_body = q->resp_body;
	f->req_wire = q->req_wire;
	f->resp_wire = q->resp_wire;
	f->cgroup = cold->key.cgroup;
	f->route = q->route;
	f->cookie = cold->cookie;
	f->number = q->number;
	f->pid = cold->pid;
	f->tid = cold->tid;
	f->status = q->status;
	f->lport = cold->lport;
	f->rport = cold->rport;
	f->role = cold->key.role;
	f->method = q->method;
	f->version = q->version;
	f->error = q->error;
	f->flags = (q->first ? AX_FLOW_FIRST : 0) | (slow ? AX_FLOW_SLOW : 0) | (failed ? AX_FLOW_ERROR : 0) |
		   (sampled ? AX_FLOW_SAMPLED : 0) | (denied ? AX_FLOW_DENIED : 0);
	f->matched = w->seen;
	f->ident = w->ident;
	f->policy = w->told.policy;
	f->rule = w->told.rule;
	f->verdict = w->told.verdict;
	f->deny = w->told.deny;
	__builtin_memset(f->pad, 0, sizeof(f->pad));
	__builtin_memcpy(f->laddr, cold->laddr, 16);
	__builtin_memcpy(f->raddr, cold->raddr, 16);
	__builtin_memcpy(f->comm, cold->key.comm, AX_COMM);
	if (q->q_flags & AX_Q_TEXT) {
		f->flags |= (cold->path_cut ? AX_FLOW_PATH_CUT : 0) | (cold->host_cut ? AX_FLOW_HOST_CUT : 0);
		f->path_len = cold->path_len;
		f->host_len = cold->host_len;
		__builtin_memcpy(f->host, cold->host, AX_HOST);
		__builtin_memcpy(f->path, cold->path, AX_PATH);
	} else {
		f->flags |= AX_FLOW_NO_TEXT;
		f->path_len = 0;
		f->host_len = 0;
		__builtin_memset(f->host, 0, AX_HOST);
		__builtin_memset(f->path, 0, AX_PATH);
	}
	ax_count(AX_INFO_FLOWS);
	bpf_ringbuf_submit(f, ctl->wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	return 0;
}

#ifndef AX_NATIVE
/* The end of a connection, as in struct ax_pair. */
static __always_inline void ax_pair_end(u8 *out, const u8 *addr)
{
	if (*(const u64 *)addr == 0 && *(const u32 *)(addr + 8) == 0xffff0000)
		*(u32 *)out = *(const u32 *)(addr + 12);
	else
		__builtin_memcpy(out, addr, 16);
}

/* The first request of the connection in w->cold: perhaps it was judged before the connection had a socket. */
AX_GLOBAL int ax_ask_early(u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_pair pair = {};
	struct ax_early *e;

	if (!w)
		return 0;
	ax_pair_end(pair.src, w->cold.raddr);
	ax_pair_end(pair.dst, w->cold.laddr);
	pair.ports = (u32)bpf_htons(w->cold.rport) << 16 | bpf_htons(w->cold.lport);
	e = bpf_map_lookup_elem(&ax_early, &pair);
	/* not of an older connection with the same ports */
	if (!e || e->s.memo.verdict == AX_VERDICT_NONE || ax_since(e->at, w->done.t0) > AX_EARLY_OLD)
		return 0;
	w->told = e->s.memo;
	w->ident = e->s.ident;
	return 0;
}

/* What the gate decided of the request at hand, in w->told. */
static __always_inline void ax_ask_gate(struct ax_work *w, u32 lvl, struct bpf_sock *sk)
{
	struct ax_gate *g = bpf_sk_storage_get(&ax_gates, sk, 0, 0);
	struct ax_told *t;

	if (!g) {
		if (!w->done.number && w->cold.key.role == AX_ROLE_SERVER)
			ax_ask_early(lvl);
		return;
	}
	t = &g->told[w->done.number & (AX_TOLD - 1)];
	if (t->number != (u16)w->done.number)
		return;
	w->told = *t;
	w->ident = g->s.ident;
}
#endif

/* The same for a connection whose cold half is at hand: it is copied, so that what follows needs no socket. */
static __always_inline void ax_tell_body(struct ax_work *w, u32 lvl, const struct ax_cold *cold, struct bpf_sock *sk)
{
	__builtin_memcpy(&w->cold, cold, sizeof(w->cold));
	w->ident = 0;
	__builtin_memset(&w->told, 0, sizeof(w->told));
#ifdef AX_NATIVE
	(void)sk;
#else
	ax_ask_gate(w, lvl, sk);
#endif
	ax_tell_of(lvl);
}

/* Would a denial be told of now? */
static __always_inline int ax_tells_denials(void)
{
	const struct ax_work *w = ax_area(0);
	const struct ax_ctl *ctl = ax_control();
	u64 now;

	if (!w || !ctl || ctl->filters)
		return 1;
	now = bpf_ktime_get_ns();
	return (ctl->error_interval && w->next_error <= now) || (ctl->flow_interval && w->next_flow <= now);
}

/* Does anybody wait for a record of this request? Asked before anything is prepared for one. */
static __always_inline int ax_worth_telling(struct ax_work *w, const struct ax_ctl *ctl)
{
	const struct ax_done *q = &w->done;

	return ctl->filters || ctl->audit || q->first || q->status >= 500 || q->error ||
	       (ctl->slow_ns && q->duration >= ctl->slow_ns) ||
	       (ctl->flow_interval && w->next_flow <= w->now);
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * workload.h - whose a server's socket is, and which set of policies judges it; which ports are looked at for that.
 */
#ifndef AX_WORKLOAD_H
#define AX_WORKLOAD_H

#include "judge.h"

/* Of a filter, by its class (TCA_BPF_CLASSID). */
#define AX_CLASS_INTO 1		/* judges what is sent, to a container on the interface's other end */
#define AX_CLASS_BARE 2		/* the link has no Ethernet header */
#define AX_CLASS_PORT 4		/* judges nothing: tells the bridge, whose port the interface is, what a packet comes out of */

/* What is on an interface's other end. */
struct ax_link {
	s32 netns;		/* a container: that its sockets are in, as this network namespace numbers it; or enum ax_beyond */
	u32 pad;
};

enum ax_beyond {
	AX_BEYOND_OTHERS = -1,	/* other hosts */
	AX_BEYOND_PORTS = -2,	/* a bridge's ports, of which one has told: see ax_port_tells() */
	AX_BEYOND_BRIDGE = -3,	/* another bridge, whose ports have told; or what this host sends by that */
};

#define AX_NETNS_NONE 0x7fffffff	/* numbers that no network namespace has: nobody's socket, */
#define AX_NETNS_HERE 0x7ffffffe	/* and only one of this host's own */

/* A generation, and of it the number and flags of the set (0: not selected). */
#define AX_GUARD(gen, flags, set) ((u64)(gen) << 32 | (u64)(flags) << 16 | (set))
#define AX_GUARD_GEN(now) ((u32)((now) >> 32))
#define AX_GUARD_FLAGS(now) ((u32)(now) >> 16)
#define AX_GUARD_SET(now) ((u32)(now) & (AX_POL_SETS - 1))
#define AX_GUARD_HELD 0x8000	/* among the flags: what selects it is not known yet */

struct ax_ports {
	u64 word[1024];
};

AX_MAP(ax_links, BPF_MAP_TYPE_HASH, u32, struct ax_link, 16384, BPF_F_NO_PREALLOC);
AX_MAP(ax_pol_ports, BPF_MAP_TYPE_ARRAY, u32, struct ax_ports, 1, 0);

/* Where the packet's socket is: in a container on the interface's other end, if the filter has a class. There it is judged
 * by the container's sockets, and answered as if from its end of the cable. */
static __always_inline void ax_server_netns(struct __sk_buff *skb, struct ax_gw *w)
{
	u32 key = skb->ifindex;
	struct ax_link *link;

	w->in = 0;
	w->netns = -1;
	if (!(skb->tc_classid & AX_CLASS_INTO))
		return;
	link = bpf_map_lookup_elem(&ax_links, &key);
	if (link)
		w->netns = link->netns;
	w->in = 1;
}

/* The socket that the packet goes to, or, if `any`, also one that is half open; to be released. Two calls: 5.10's verifier
 * walks a tenth more of the program if one takes either size. */
static __always_inline struct bpf_sock *ax_server_socket(struct __sk_buff *skb, struct ax_gw *w, int any)
{
	struct bpf_sock_tuple *t = &w->tuple;

	if (w->ip6) {
		__builtin_memcpy(t->ipv6.saddr, w->src, 16);
		__builtin_memcpy(t->ipv6.daddr, w->dst, 16);
		t->ipv6.sport = w->sport;
		t->ipv6.dport = w->dport;
		return any ? bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv6), w->netns, 0) :
			     bpf_sk_lookup_tcp(skb, t, sizeof(t->ipv6), w->netns, 0);
	}
	t->ipv4.saddr = *(u32 *)w->src;
	t->ipv4.daddr = *(u32 *)w->dst;
	t->ipv4.sport = w->sport;
	t->ipv4.dport = w->dport;
	return any ? bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv4), w->netns, 0) :
		     bpf_sk_lookup_tcp(skb, t, sizeof(t->ipv4), w->netns, 0);
}

static __always_inline u64 *ax_port_word(u32 port)
{
	u32 zero = 0;
	struct ax_ports *p = bpf_map_lookup_elem(&ax_pol_ports, &zero);

	return p ? &p->word[port >> 6 & 1023] : 0;
}

static __always_inline int ax_port_marked(u32 port)
{
	u64 *word = ax_port_word(port);

	return word && *word >> (port & 63) & 1;
}

/* Have packets to a port (host byte order) looked at, for they may be for a selected workload. Of two cores that set bits of
 * one word at once one may lose its own (5.10 has no atomic OR): what is not judged for that is dropped, and marks it again. */
static __always_inline void ax_mark_port(u32 port)
{
	u64 *word = ax_port_word(port);

	if (word)
		*word |= 1ULL << (port & 63);
}

/* The set that judges a server's socket, by key {w->target}: see struct ax_pol_target. Of a cgroup that user space has not
 * looked at there is none yet: w->held. */
AX_GLOBAL u32 ax_set_of(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_pol_ctl *ctl = ax_pol_control();
	u32 *set;

	if (!w || !ctl)
		return 0;
	w->held = ctl->newest && w->cgroup > ctl->newest;
	if (w->held)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 8; i++) {
		__builtin_memset(&w->target, 0, sizeof(w->target));
		w->target.half = w->half;
		if (!(i & 4))
			w->target.cgroup = w->cgroup;
		if (!(i & 2))
			__builtin_memcpy(w->target.comm, w->comm, AX_COMM);
		if (!(i & 1))
			w->target.port = w->lport;
		set = bpf_map_lookup_elem(&ax_pol_target, &w->target);
		if (set)
			return *set;
	}
	return 0;
}

/* Brings what is known of a socket up to a generation; returns AX_GUARD. */
static __always_inline u64 ax_guard_now(struct ax_owner *o, u32 lvl, struct ax_gw *w, u32 gen)
{
	struct ax_guard *g = &o->guard;
	u32 set, half = gen & 1, at;
	struct ax_pol_set *s;
	u64 now;

	w->half = half;
	w->held = 0;
	w->cgroup = g->cgroup;
	__builtin_memcpy(w->comm, o->comm, AX_COMM);
	set = g->client ? 0 : ax_set_of(lvl);
	at = half * AX_POL_SETS + (set & (AX_POL_SETS - 1));
	s = set ? bpf_map_lookup_elem(&ax_pol_dir, &at) : 0;
	if (!s || !s->serial) {
		/* of another generation, where it is held: so that it is looked for again with the next packet */
		now = AX_GUARD(gen - w->held, w->held * AX_GUARD_HELD, 0);
		g->now = now;
		return now;
	}
	ax_mark_port(w->lport);
	now = AX_GUARD(gen, s->flags, set);
	g->now = now;
	return now;
}

/* Is the workload of a server's socket selected? Then w has the set that judges it. */
static __always_inline int ax_selected(struct ax_owner *o, u32 lvl, struct ax_gw *w, struct ax_pol_ctl *ctl)
{
	u32 gen = AX_READ(ctl->gen), at;
	u64 now = AX_READ(o->guard.now);
	struct ax_pol_set *set;

	if (AX_GUARD_GEN(now) != gen)
		now = ax_guard_now(o, lvl, w, gen);
	if (!AX_GUARD_SET(now))
		return 0;
	w->gen = AX_GUARD_GEN(now);
	w->half = w->gen & 1;
	w->offs = ctl->offs;
	at = w->half * AX_POL_SETS + AX_GUARD_SET(now);
	set = bpf_map_lookup_elem(&ax_pol_dir, &at);
	if (!set)
		return 0;
	w->set = *set;
	w->policy = set->deny;
	w->rule = 0xffff;
	w->cgroup = o->guard.cgroup;
	__builtin_memcpy(w->comm, o->comm, AX_COMM);
	w->soft = ctl->mode != AX_POL_MODE_ENFORCE || !(set->flags & AX_POL_ENFORCE);
	return 1;
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * guard.h - the socket's own hook as the backstop: whose a server's socket is, for the gate in front of it to know; and
 * what the gate has not judged is not let by (another filter ahead of it, a redirect past it, a fragment). Its connection is
 * told of, for the agent to end it.
 */
#ifndef AX_GUARD_H
#define AX_GUARD_H

#include "conn.h"

/* What the socket's own hook is asked. */
enum ax_guard_ask {
	AX_ASK_JUDGED,		/* has a packet that ends at this sequence number been judged? */
	AX_ASK_WHOSE,		/* nothing, but whose the socket is has to be known from now on */
	AX_ASK_UNREAD,		/* may a packet pass that cannot be read (extension headers, fragments)? */
};

#ifdef AX_NATIVE

/* The native tests observe only. */
#define ax_guard(skb, seq_end, ask) ((void)(skb), (void)(seq_end), (void)(ask), 1)

#else

#include "gate.h"

#define AX_UNJUDGED 1024	/* connections that wait for the agent; one more is not ended, and its client comes again */

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, AX_UNJUDGED);
	__type(value, struct ax_unjudged);
} ax_pol_unjudged SEC(".maps");

/* The packet's connection; returns where its TCP header begins, 0 if that cannot be read. */
static __always_inline u32 ax_packet_pair(struct __sk_buff *skb, struct ax_pair *pair)
{
	u8 head[40] __attribute__((aligned(8)));
	u32 off = 40;

	if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)))
		return 0;
	if (head[0] >> 4 == 6) {
		__builtin_memcpy(pair->src, head + 8, 16);
		__builtin_memcpy(pair->dst, head + 24, 16);
	} else {
		__builtin_memcpy(pair->src, head + 12, 4);
		__builtin_memcpy(pair->dst, head + 16, 4);
		off = (head[0] & 15) * 4;
	}
	if (bpf_skb_load_bytes(skb, off, &pair->ports, 4))
		return 0;
	pair->ports = pair->ports << 16 | pair->ports >> 16;
	return off;
}

/* Has this packet for a listener been judged in front of it, just now? Of what was judged on an older connection with the same
 * ports nothing is known here. */
static __always_inline int ax_judged_early(struct __sk_buff *skb, u32 seq_end)
{
	u8 th[16] __attribute__((aligned(8)));
	struct ax_pair pair = {};
	struct ax_early *e;
	u32 off, seq;

	off = ax_packet_pair(skb, &pair);
	if (!off || bpf_skb_load_bytes(skb, off, th, sizeof(th)))
		return 0;
	seq = bpf_ntohl(*(u32 *)(th + 4)) + !!(th[13] & AX_TCP_SYN);
	e = bpf_map_lookup_elem(&ax_early, &pair);
	return e && e->s.start == seq && (s32)(seq_end - e->s.next) <= 0 && bpf_ktime_get_ns() - e->at < AX_EARLY_DOUBT;
}

/* Has the agent end the connection of a packet that is dropped unjudged, so that its client does not wait: if TCP would have
 * taken the packet (a stray or invented one ends nothing), and if the gate has not met the connection (it will again). */
AX_GLOBAL int ax_end_unjudged(struct __sk_buff *skb)
{
	u8 th[16] __attribute__((aligned(8)));
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_unjudged told = {};
	struct ax_pair pair = {};
	struct bpf_tcp_sock *tp;
	struct ax_owner *o;
	u32 off, ack, una, next;

	if (!sk || bpf_sk_storage_get(&ax_gates, sk, 0, 0))
		return 0;
	o = bpf_sk_storage_get(&ax_owner, sk, 0, 0);
	tp = bpf_tcp_sock(sk);
	if (!o || !tp)
		return 0;
	off = ax_packet_pair(skb, &pair);
	if (!off || bpf_map_lookup_elem(&ax_early, &pair) || bpf_skb_load_bytes(skb, off, th, sizeof(th)))
		return 0;
	ack = bpf_ntohl(*(u32 *)(th + 8));
	una = AX_READ(tp->snd_una);
	next = AX_READ(tp->snd_nxt);
	if (bpf_ntohl(*(u32 *)(th + 4)) != AX_READ(tp->rcv_nxt) || ack - una > next - una ||
	    (th[13] & (AX_TCP_SYN | AX_TCP_RST | AX_TCP_ACK)) != AX_TCP_ACK)
		return 0;
	told.cookie = bpf_get_socket_cookie(skb);
	told.cgroup = o->guard.cgroup;
	__builtin_memcpy(told.raddr, pair.src, 16);
	__builtin_memcpy(told.laddr, pair.dst, 16);
	told.rport = bpf_ntohs(*(u16 *)th);
	told.lport = bpf_ntohs(*(u16 *)(th + 2));
	told.bound = AX_READ(sk->bound_dev_if);
	told.family = skb->protocol == bpf_htons(0x86dd) ? AX_AF_INET6 : AX_AF_INET;
	return !bpf_map_push_elem(&ax_pol_unjudged, &told, BPF_ANY);
}

/* Does somebody listen at the socket's own address and port? */
static __always_inline int ax_listened(struct __sk_buff *skb, struct bpf_sock *sk)
{
	u32 v4 = AX_READ(sk->src_ip4), peer4 = AX_READ(sk->dst_ip4);
	u32 a = AX_READ(sk->src_ip6[0]), b = AX_READ(sk->src_ip6[1]), c = AX_READ(sk->src_ip6[2]), d = AX_READ(sk->src_ip6[3]);
	struct bpf_sock_tuple t = {};
	struct bpf_sock *found;
	u32 port = AX_READ(sk->src_port);
	int listens;

	/* from a port that nobody has, so that no connection is found */
	if (skb->protocol == bpf_htons(0x0800)) {
		t.ipv4.saddr = peer4;
		t.ipv4.daddr = v4;
		t.ipv4.dport = bpf_htons(port);
		found = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		t.ipv6.daddr[0] = a;
		t.ipv6.daddr[1] = b;
		t.ipv6.daddr[2] = c;
		t.ipv6.daddr[3] = d;
		t.ipv6.dport = bpf_htons(port);
		found = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!found)
		return 0;
	listens = found->state == AX_TCP_LISTEN;
	bpf_sk_release(found);
	return listens;
}

/* In front of the socket's own hook (cgroup_skb): whose it is; and what was not judged is not let by. 1: let it by. */
AX_GLOBAL int ax_guarded(struct __sk_buff *skb, u32 lvl, u32 seq_end, u32 ask)
{
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_pol_ctl *ctl = ax_pol_control();
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_owner *o;
	struct ax_guard *g;
	struct ax_gate *gate;
	u64 now, client;
	u32 gen;

	if (!sk || !ctl || !w || sk->protocol != AX_IPPROTO_TCP)
		return 1;
	o = bpf_sk_storage_get(&ax_owner, sk, 0, 0);
	if (!o) {	/* the socket is older than the programs */
		o = bpf_sk_storage_get(&ax_owner, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!o) {
			ax_deny_count(AX_DENY_MEMORY);
			return ctl->mode != AX_POL_MODE_ENFORCE;
		}
	}
	g = &o->guard;
	if (!AX_READ(g->cgroup)) {
		/* older than the programs: it has connected if nobody listens where it is */
		if (!o->cgroup)
			g->client = sk->state != AX_TCP_LISTEN && !ax_listened(skb, sk);
		ax_barrier();
		g->cgroup = bpf_sk_cgroup_id(sk);
	}
	/* Its state says whether it has connected, so that what it reads are answers. The packet does not: anybody may send a SYN
	 * with an acknowledgement to what listens, or on a connection that a server has taken. */
	if (sk->state == AX_TCP_SYN_SENT || sk->state == AX_TCP_LISTEN) {
		client = sk->state == AX_TCP_SYN_SENT;
		if (g->client != client) {
			g->client = client;
			g->now = 0;
		}
	}
	gen = AX_READ(ctl->gen);
	now = AX_READ(g->now);
	if (AX_GUARD_GEN(now) != gen) {
		if (w->owner)
			return ctl->mode != AX_POL_MODE_ENFORCE;	/* the work area is taken: it comes again */
		w->owner = 1;
		w->lport = sk->src_port;
		now = ax_guard_now(o, lvl, w, gen);
		w->owner = 0;
	}
	if (AX_GUARD_FLAGS(now) & AX_GUARD_HELD && ctl->mode == AX_POL_MODE_ENFORCE) {
		ax_deny_count(AX_DENY_HELD);
		return 0;
	}
	if (ask == AX_ASK_WHOSE || ctl->mode != AX_POL_MODE_ENFORCE || !(AX_GUARD_FLAGS(now) & AX_POL_ENFORCE))
		return 1;
	if (ask == AX_ASK_UNREAD) {
		;
	} else if (sk->state == AX_TCP_LISTEN) {
		if (ax_judged_early(skb, seq_end))
			return 1;
	} else {
		gate = bpf_sk_storage_get(&ax_gates, sk, 0, 0);
		if (gate && gate->met &&
		    (gate->s.r.phase == AX_G_PASS || (!gate->s.doubtful && (s32)(seq_end - gate->s.next) <= 0)))
			return 1;
	}
	ax_mark_port(sk->src_port);
	ax_deny_count(AX_DENY_UNJUDGED);
	if (ask == AX_ASK_JUDGED && sk->state != AX_TCP_LISTEN)
		ax_end_unjudged(skb);
	return 0;
}

/* Is anything judged on this host, and does the socket's hook have to do with it? 1: let the packet by. */
static __always_inline int ax_guard(struct __sk_buff *skb, u32 seq_end, u32 ask)
{
	struct ax_pol_ctl *ctl = ax_pol_control();

	if (AX_UNLIKELY(ctl && ctl->gen && ctl->mode)) {
		u32 by = ax_guarded(skb, 1, seq_end, ask);

		AX_OPAQUE(by);	/* the compiler knows that it is 0 or 1, the verifier does not */
		return by & 1;
	}
	return 1;
}

#endif
#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * gate.h - in front of the socket (tc): every byte that goes to a selected workload is judged before TCP sees it.
 */
#ifndef AX_GATE_H
#define AX_GATE_H

#include "answer.h"
#include "conn.h"
#include "denied.h"
#include "established.h"
#include "listener.h"
#include "options.h"
#include "segment.h"
#include "workload.h"

/* Carries out what was decided of a packet that is not let by. */
AX_GLOBAL int ax_gate_end(struct __sk_buff *skb, u32 lvl, u32 what)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_pol_ctl *ctl = ax_pol_control();

	if (!w || !ctl)
		return AX_TC_SHOT;
	ax_deny_count(w->reason);
	if (what == AX_DO_DROP)
		return AX_TC_SHOT;
	if (what != AX_DO_END) {
		ax_verdict_count(w->policy, AX_VERDICT_DROPPED);
		ax_tell_denied(skb, lvl, what == AX_DO_ANSWER ? 403 : 0);
	}
	if (ax_prepare(skb, lvl))
		return AX_TC_SHOT;
	if (what == AX_DO_END)
		return ax_rewrite(skb, lvl, AX_TCP_RST, 0) ? AX_TC_SHOT : AX_TC_PASS;
	return what == AX_DO_ANSWER ? ax_answer(skb, lvl, ctl->header) : ax_reset_both(skb, lvl);
}

/* A work area for this run: nothing runs beside us on this core but what we send ourselves. 0: both are taken. */
static __always_inline struct ax_gw *ax_gate_claim(u32 *lvl)
{
	struct ax_gw *w = ax_gate_area(0);

	*lvl = 0;
	if (w && w->owner) {
		*lvl = 1;
		w = ax_gate_area(1);
	}
	if (!w || w->owner)
		return 0;
	w->owner = 1;
	return w;
}

/* Notes the packet's segment in the work area, where the functions that are verified apart find it. */
static __always_inline void ax_gate_note(struct __sk_buff *skb, struct ax_gw *w, const struct ax_segment *s)
{
	w->seq = s->seq;
	w->base = s->base;
	w->end = s->len;
	w->tcp_flags = s->flags;
	w->optioned = s->optioned;
	w->l2 = s->l2;
	w->iplen = s->iplen;
	w->ip6 = s->ip6;
	w->ifindex = skb->ifindex;
	w->sport = s->ports;
	w->dport = s->ports >> 16;
	w->lport = ax_server_port(s);
	w->snd_una = s->ack;
	w->reason = 0;
	w->texts = 0;
	w->untold = 0;
	w->counted = 0;
	w->number = 0;
	w->heads = 0;
	__builtin_memset(w->src, 0, 32);
	if (s->ip6) {
		__builtin_memcpy(w->src, s->ip + 8, 16);
		__builtin_memcpy(w->dst, s->ip + 24, 16);
	} else {
		*(u32 *)w->src = *(u32 *)(s->ip + 12);
		*(u32 *)w->dst = *(u32 *)(s->ip + 16);
	}
}

/* There is no socket of the connection's own: the packet's addresses stand for it. */
static __always_inline void ax_gate_ends(struct ax_gw *w)
{
	if (w->ip6) {
		__builtin_memcpy(w->raddr, w->src, 16);
		__builtin_memcpy(w->laddr, w->dst, 16);
	} else {
		ax_mapped(w->raddr, *(u32 *)w->src);
		ax_mapped(w->laddr, *(u32 *)w->dst);
	}
}

/* Is a SYN for a selected workload? Where an older connection with the same ports waits in TIME_WAIT, TCP makes a new one of it
 * (RFC 6191): the listener does. 1 also if whose that is is not known. */
AX_GLOBAL int ax_syn_selected(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_pol_ctl *ctl = ax_pol_control();
	struct bpf_sock *sk;
	struct ax_owner *o;
	int selected = 0;
	u16 port;

	if (!w || !ctl || ctl->mode != AX_POL_MODE_ENFORCE)
		return 0;
	sk = ax_server_socket(skb, w, 1);
	if (!sk)
		return 0;
	selected = sk->state == AX_TCP_TIME_WAIT;
	bpf_sk_release(sk);
	if (!selected)
		return 0;
	port = w->sport;
	w->sport = 0;	/* a port that nobody has, so that no connection is found */
	sk = ax_server_socket(skb, w, 0);
	w->sport = port;
	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&ax_owner, sk, 0, 0);
	w->soft = 0;
	if (o && AX_READ(o->guard.cgroup))
		selected = ax_selected(o, lvl, w, ctl) && !w->soft;
	bpf_sk_release(sk);
	return selected;
}

/* Decides on a packet for a server's socket, if that is selected. enum ax_gate_do. */
static __always_inline int ax_gate_decide(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, struct bpf_sock *sk,
					  struct ax_pol_ctl *ctl)
{
	struct ax_owner *o = bpf_sk_storage_get(&ax_owner, sk, 0, 0);
	struct ax_gate *g;

	if (!o || !AX_READ(o->guard.cgroup)) {
		/* the socket's hook will make one, and drop what we have not seen */
		w->soft = 0;
		if (sk->state != AX_TCP_LISTEN)
			return AX_DO_PASS;
		return ax_is_syn(w->tcp_flags) && ctl->mode == AX_POL_MODE_ENFORCE ? AX_DO_LISTENER : AX_DO_NONE;
	}
	if (!ax_selected(o, lvl, w, ctl)) {
		/* what it reads now is not followed: should it be selected again, its place is not known */
		g = bpf_sk_storage_get(&ax_gates, sk, 0, 0);
		if (g)
			g->s.r.phase = AX_G_LOST;
		return AX_DO_PASS;
	}
	if (sk->state == AX_TCP_LISTEN) {
		ax_gate_ends(w);
		return AX_DO_LISTENER;
	}
	/* Its first data has been judged and makes it right now, on another core: this one comes again, when what was judged is the
	 * connection's own. */
	if (sk->state == AX_TCP_SYN_RECV && !w->soft && bpf_map_lookup_elem(&ax_early, ax_early_pair(w))) {
		w->reason = AX_DENY_BUSY;
		return AX_DO_DROP;
	}
	return ax_gate_established(skb, lvl, w, sk, ctl->secret);
}

/* One segment: from its socket to what is done with it. */
static __always_inline int ax_gate_segment(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, struct ax_pol_ctl *ctl,
					   const struct ax_segment *s)
{
	struct bpf_sock *sk;
	int what;

	ax_server_netns(skb, w);
	/* An acknowledgement decides nothing: it may only be one of our answer. Without data an urgent mark does as well, and
	 * what ends a handshake may ask for Multipath TCP. */
	if (!s->len && !s->optioned && !(s->flags & (AX_TCP_SYN | AX_TCP_FIN | AX_TCP_URG)))
		return ax_gate_listener(skb, lvl, 0);
	sk = ax_server_socket(skb, w, 0);
	if (!sk) {
		w->soft = 0;
		return ax_gate_listener(skb, lvl, ax_is_syn(s->flags) && ax_syn_selected(skb, lvl));
	}
	what = ax_gate_decide(skb, lvl, w, sk, ctl);
	bpf_sk_release(sk);
	if (what == AX_DO_PASS)
		return AX_TC_PASS;
	if (what == AX_DO_LISTENER || what == AX_DO_NONE)
		return ax_gate_listener(skb, lvl, what == AX_DO_LISTENER);
	return ax_gate_end(skb, lvl, what);
}

/* The hook: whatever is not a segment for a selected workload passes as it is. */
static __always_inline int ax_gate_packet(struct __sk_buff *skb)
{
	struct ax_pol_ctl *ctl = ax_pol_control();
	struct ax_segment s;
	struct ax_gw *w;
	u32 lvl;
	int r;

	if (skb->tc_classid & AX_CLASS_PORT) {
		ax_port_tells(skb);
		return AX_TC_PASS;
	}
	if (!ctl || !ctl->gen || !ctl->mode)
		return AX_TC_PASS;
	r = ax_segment_of(skb, ctl, &s);
	if (r != AX_IS_SEGMENT)
		return r;
	w = ax_gate_claim(&lvl);
	if (!w) {
		ax_deny_count(AX_DENY_BUSY);
		return AX_TC_SHOT;
	}
	ax_gate_note(skb, w, &s);
	r = ax_gate_segment(skb, lvl, w, ctl, &s);
	w->owner = 0;
	return r;
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * listener.h - packets that have no connection's socket: before there is one (handshake, first data), or when it has
 * gone (what a denied client still sends).
 */
#ifndef AX_LISTENER_H
#define AX_LISTENER_H

#include "answer.h"
#include "denied.h"
#include "early.h"
#include "options.h"
#include "segment.h"

/* Ends a connection whose first data is denied. */
AX_GLOBAL int ax_gate_early_end(struct __sk_buff *skb, u32 lvl, u32 named)
{
	struct ax_gw *w = ax_gate_area(lvl);
	int answer;

	if (!w)
		return AX_TC_SHOT;
	answer = ax_answerable(w);
	ax_tell_denied(skb, lvl, answer ? 403 : 0);
	w->snd_nxt = w->snd_una;
	w->rcv_nxt = w->seq;
	if (answer)
		return ax_answer(skb, lvl, named);
	/* the request socket is forgotten when nothing more comes */
	ax_send_back(skb, lvl, w, AX_TCP_RST | AX_TCP_ACK, 0);
	return AX_TC_STOLEN;
}

/* A packet of a connection that there is no socket for yet, or no more. */
AX_GLOBAL int ax_gate_listener(struct __sk_buff *skb, u32 lvl, u32 selected)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_pol_ctl *ctl = ax_pol_control();
	int r;

	if (!w || !ctl)
		return AX_TC_SHOT;
	if (bpf_map_lookup_elem(&ax_tombs, ax_pair_of(w))) {
		if (ax_prepare(skb, lvl)) {
			ax_deny_count(AX_DENY_STRAY);
			return AX_TC_SHOT;
		}
		if (ax_tomb_of(skb, lvl, ctl->header))
			return AX_TC_STOLEN;	/* it may be acknowledged: its sender must not take it for unsent */
	}
	if (!selected)
		return AX_TC_PASS;
	if (ax_is_syn(w->tcp_flags))
		return w->soft ? AX_TC_PASS : ax_plain_syn(skb, lvl);
	if (w->optioned && !w->soft && ax_multipath(skb, lvl)) {
		/* no SYN has asked for it, but a server that sends cookies takes the client's word */
		ax_deny_count(AX_DENY_MULTIPATH);
		return AX_TC_SHOT;
	}
	if (w->tcp_flags & AX_TCP_URG && !w->soft) {
		/* its child would take a byte out of the stream, see ax_gate_marked() */
		ax_deny_count(AX_DENY_URGENT);
		return AX_TC_SHOT;
	}
	if (!w->end)
		return AX_TC_PASS;
	r = ax_gate_early(skb, lvl, ctl->secret);
	if (r == AX_DO_PASS) {
		ax_gate_audited(w);
		return AX_TC_PASS;
	}
	ax_deny_count(w->reason);
	if (r == AX_DO_DROP)
		return AX_TC_SHOT;
	ax_verdict_count(w->policy, AX_VERDICT_DROPPED);
	if (ax_prepare(skb, lvl))
		return AX_TC_SHOT;
	return ax_gate_early_end(skb, lvl, ctl->header);
}

#endif

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

#define AX_STRAYS 256		/* a power of two */
#define AX_STRAY_PAUSE 1000000000ULL	/* ns between two that are told of one place */

/* When a stray was last told of, by the hash of its connection. */
AX_MAP(ax_strays, BPF_MAP_TYPE_ARRAY, u32, u64, AX_STRAYS, 0);

/*
 * Data for a listener that knows of no such connection: the host was restarted, or a denial is forgotten. TCP would answer it
 * with a reset, but the socket's hook drops it unread, since only here is known that no handshake takes it. So an acknowledgement
 * without the data goes in front of it, which TCP answers alike: its client does not wait. It is not ours to answer: what is
 * translated or passes through this host is seen here as well, and its listener is somebody else's. There it is one
 * acknowledgement more. What comes behind it within the pause goes on as it is, the packet itself first.
 */
AX_GLOBAL int ax_gate_stray(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u64 hash, now = bpf_ktime_get_ns(), *at;
	u32 place;

	if (!w)
		return AX_TC_SHOT;
	hash = (*(u64 *)w->src ^ *(u64 *)(w->src + 8)) * 0x9fb21c651e98df25ULL;
	hash = (hash ^ *(u64 *)w->dst ^ *(u64 *)(w->dst + 8) ^ ((u32)w->sport << 16 | w->dport)) * 0x9fb21c651e98df25ULL;
	place = hash >> 56 & (AX_STRAYS - 1);
	at = bpf_map_lookup_elem(&ax_strays, &place);
	if (!at || now - *at < AX_STRAY_PAUSE || w->tcp_flags & AX_TCP_RST)
		return AX_TC_PASS;
	*at = now;
	if (ax_prepare(skb, lvl) || bpf_clone_redirect(skb, w->ifindex, w->in ? 0 : BPF_F_INGRESS))
		return AX_TC_PASS;
	w->rcv_nxt = w->seq;
	w->ack = w->snd_una;
	return ax_rewrite(skb, lvl, AX_TCP_ACK, 0) ? AX_TC_SHOT : AX_TC_PASS;
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
	if (r == AX_DO_STRAY)
		return ax_gate_stray(skb, lvl);
	ax_deny_count(w->reason);
	if (r == AX_DO_DROP)
		return AX_TC_SHOT;
	ax_verdict_count(w->policy, AX_VERDICT_DROPPED);
	if (ax_prepare(skb, lvl))
		return AX_TC_SHOT;
	return ax_gate_early_end(skb, lvl, ctl->header);
}

#endif

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

#define AX_OLD_ACK (1 << 20)	/* an acknowledgement so far behind is none (RFC 5961 section 5.2) */

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

static __always_inline int ax_gate_packet(struct __sk_buff *skb)
{
	struct ax_pol_ctl *ctl = ax_pol_control();
	u8 *data = AX_DATA(skb), *end = AX_DATA_END(skb), *ip, *th;
	u32 l2 = 14, iplen, ip6, len, off, seq, ack, una, ports, lvl, key, at;
	struct ax_gate_state *fresh;
	struct ax_texts *texts;
	struct ax_early *early;
	struct bpf_tcp_sock *tp;
	struct ax_pol_set *set;
	struct ax_guard *guard;
	struct ax_link *link;
	struct ax_conn *c;
	struct ax_gate *g;
	struct bpf_sock *sk;
	struct ax_gw *w;
	u64 *port, received, now;
	u8 flags;
	int r, syn;

	if (!ctl || !ctl->gen || !ctl->mode)
		return AX_TC_PASS;
	if (skb->protocol != bpf_htons(0x0800) && skb->protocol != bpf_htons(0x86dd))
		return AX_TC_PASS;
	if (data + 14 + 40 > end) {
		/* its headers are not at hand; what stays out of sight the socket's hook drops */
		if (bpf_skb_pull_data(skb, skb->len < 94 ? skb->len : 94))
			return AX_TC_PASS;
		data = AX_DATA(skb);
		end = AX_DATA_END(skb);
		if (data + 14 + 40 > end)
			return ax_short_fragment(data, end) && ctl->mode == AX_POL_MODE_ENFORCE ? AX_TC_SHOT : AX_TC_PASS;
	}
	if (*(u16 *)(data + 12) != (u16)skb->protocol)
		l2 = 0;	/* a link without Ethernet */
	ip = data + l2;
	if (ip[0] >> 4 == 4) {
		if (ip[9] != AX_IPPROTO_TCP)
			return AX_TC_PASS;
		iplen = (ip[0] & 15) * 4;
		if (*(u16 *)(ip + 6) & bpf_htons(0x3fff))
			return *(u16 *)(ip + 6) & bpf_htons(0x1fff) ? AX_TC_PASS : ax_first_fragment(ip + iplen, end, ctl);
		len = bpf_ntohs(*(u16 *)(ip + 2));
		if (!len)
			len = skb->len - l2;
		ip6 = 0;
	} else {
		iplen = 40;
		len = bpf_ntohs(*(u16 *)(ip + 4)) + 40;
		/* behind other extension headers the socket's hook drops what has been put together */
		if (ip[6] == 44 && ip + 52 <= end && ip[40] == AX_IPPROTO_TCP)
			return *(u16 *)(ip + 42) & bpf_htons(0xfff8) ? AX_TC_PASS : ax_first_fragment(ip + 48, end, ctl);
		if (ip[6] != AX_IPPROTO_TCP) {
			if (ip[6] || data + l2 + 48 > end || ip[40] != AX_IPPROTO_TCP || ip[41] || ip[42] != 0xc2)
				return AX_TC_PASS;
			iplen = 48;
			len = 40;
		}
		if (len == 40)
			len = skb->len - l2;
		ip6 = 1;
	}
	th = data + l2 + iplen;
	if (iplen < 20 || th + 20 > end)
		return AX_TC_PASS;
	ports = *(u32 *)th;
	port = ax_port_word(bpf_ntohs(ports >> 16));
	flags = th[13];
	/* a listener's first SYN comes before anybody has asked whose it is */
	syn = (flags & (AX_TCP_SYN | AX_TCP_ACK)) == AX_TCP_SYN;
	if (!syn && (!port || !(*port >> (bpf_ntohs(ports >> 16) & 63) & 1)))
		return AX_TC_PASS;
	seq = bpf_ntohl(*(u32 *)(th + 4));
	ack = bpf_ntohl(*(u32 *)(th + 8));
	off = iplen + (th[12] >> 4) * 4;
	if (len < off || l2 + len > skb->len)
		return AX_TC_PASS;
	len -= off;
	/* a work area: nothing runs beside us on this core but what we send ourselves */
	lvl = 0;
	w = ax_gate_area(0);
	if (w && w->owner) {
		lvl = 1;
		w = ax_gate_area(1);
	}
	if (!w || w->owner) {
		ax_deny_count(AX_DENY_BUSY);
		return AX_TC_SHOT;
	}
	w->owner = 1;
	w->seq = seq;
	w->base = l2 + off;
	w->end = len;
	w->tcp_flags = flags;
	w->l2 = l2;
	w->iplen = iplen;
	w->ip6 = ip6;
	w->ifindex = skb->ifindex;
	w->sport = ports;
	w->dport = ports >> 16;
	w->lport = bpf_ntohs(ports >> 16);
	w->snd_una = ack;
	w->texts = 0;
	w->number = 0;
	w->heads = 0;
	__builtin_memset(w->src, 0, 32);
	if (ip6) {
		__builtin_memcpy(w->src, ip + 8, 16);
		__builtin_memcpy(w->dst, ip + 24, 16);
	} else {
		*(u32 *)w->src = *(u32 *)(ip + 12);
		*(u32 *)w->dst = *(u32 *)(ip + 16);
	}
	key = skb->ifindex;
	w->in = 0;
	w->netns = -1;
	if (skb->tc_classid) {
		/* into a container: judged by its sockets, and answered as if from its end of the cable */
		link = bpf_map_lookup_elem(&ax_links, &key);
		if (link)
			w->netns = link->netns;
		w->in = 1;
	}
	if (!len && !(flags & (AX_TCP_SYN | AX_TCP_FIN))) {
		/* an acknowledgement decides nothing: it may only be one of our answer */
		r = ax_gate_listener(skb, lvl, 0);
		goto out;
	}
	sk = ax_server_socket(skb, w, ip6, 0);
	if (!sk) {
		r = ax_gate_listener(skb, lvl, 0);
		goto out;
	}
	r = AX_TC_PASS;
	guard = bpf_sk_storage_get(&ax_guards, sk, 0, 0);
	if (!guard) {
		/* the socket's hook will make one, and drop what we have not seen */
		if (!syn || sk->state != AX_TCP_LISTEN || ctl->mode != AX_POL_MODE_ENFORCE)
			goto release;
		bpf_sk_release(sk);
		w->soft = 0;
		r = ax_gate_listener(skb, lvl, 1);
		goto out;
	}
	key = AX_READ(ctl->gen);
	now = AX_READ(guard->now);
	if (AX_GUARD_GEN(now) != key)
		now = ax_guard_now(guard, lvl, w, key);
	if (!AX_GUARD_SET(now)) {
		g = bpf_sk_storage_get(&ax_gates, sk, 0, 0);
		if (g)
			g->s.r.phase = AX_G_LOST;
		goto release;
	}
	w->gen = AX_GUARD_GEN(now);
	w->half = w->gen & 1;
	at = w->half * AX_POL_SETS + AX_GUARD_SET(now);
	set = bpf_map_lookup_elem(&ax_pol_dir, &at);
	if (!set)
		goto release;
	w->set = *set;
	w->policy = set->deny;
	w->rule = 0xffff;
	w->cgroup = guard->cgroup;
	__builtin_memcpy(w->comm, guard->comm, AX_COMM);
	w->soft = ctl->mode != AX_POL_MODE_ENFORCE || !(set->flags & AX_POL_ENFORCE);
	if (sk->state == AX_TCP_LISTEN) {
		/* there is no socket of its own: the packet's addresses stand for it */
		if (ip6) {
			__builtin_memcpy(w->raddr, w->src, 16);
			__builtin_memcpy(w->laddr, w->dst, 16);
		} else {
			ax_mapped(w->raddr, *(u32 *)w->src);
			ax_mapped(w->laddr, *(u32 *)w->dst);
		}
		bpf_sk_release(sk);
		r = ax_gate_listener(skb, lvl, 1);
		goto out;
	}
	if (!len && !(flags & AX_TCP_FIN))
		goto release;
	tp = bpf_tcp_sock(sk);
	if (!tp)
		goto release;
	w->rcv_nxt = AX_READ(tp->rcv_nxt);
	w->snd_nxt = AX_READ(tp->snd_nxt);
	una = AX_READ(tp->snd_una);
	g = bpf_sk_storage_get(&ax_gates, sk, 0, 0);
	if (g && g->s.r.phase == AX_G_DENIED && !w->soft) {
		/* its reset was lost */
		w->reason = AX_DENY_POSITION;
		r = AX_DO_END;
		goto acted;
	}
	if (!len)
		goto release;
	if (!w->soft && (!(flags & AX_TCP_ACK) || (s32)(w->snd_nxt - ack) < 0 || (s32)(ack - una) < -AX_OLD_ACK)) {
		/* TCP would discard it: it ends nobody's connection, and nothing is read of it */
		w->reason = AX_DENY_STRAY;
		r = AX_DO_DROP;
		goto acted;
	}
	/* what this packet acknowledges TCP has not been told yet: a client often does both in one */
	if ((s32)(ack - una) < 0)
		w->snd_una = una;
	/* the handshake counts for one */
	w->sent = AX_READ(tp->bytes_acked) + (w->snd_nxt - una) > 1;
	received = AX_READ(tp->bytes_received);
	ax_local(sk, w->laddr);
	ax_remote(sk, w->raddr);
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!g) {
		g = bpf_sk_storage_get(&ax_gates, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!g) {
			w->reason = AX_DENY_MEMORY;
			r = AX_DO_DROP;
			goto acted;
		}
		g->s.r.phase = AX_G_LOST;
	}
	if (!ax_gate_take(g)) {
		w->reason = AX_DENY_BUSY;
		r = w->soft ? AX_DO_PASS : AX_DO_DROP;
		goto acted;
	}
	fresh = &g->s;
	/* TCP has taken what was never judged: nothing was, for a while (mode off) */
	if (fresh->r.phase < AX_G_PASS && (s32)(w->rcv_nxt - fresh->next) > 0)
		fresh->r.phase = AX_G_LOST;
	if (fresh->r.phase == AX_G_LOST) {
		early = ax_gate_begin(fresh, w, c, received);
		if (early && ax_in_head(fresh->r.phase)) {
			texts = bpf_sk_storage_get(&ax_gate_texts, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
			if (texts)
				ax_texts_move(texts, &early->t);
			else
				fresh->r.phase = AX_G_LOST;
		}
	}
	r = ax_gate_judge(skb, lvl, w, sk, g, c, ctl->secret);
	if (r > AX_DO_DROP) {
		/* TCP takes a reset only at the number that it is at (RFC 5961 section 3.2), and not at all when too much
		 * waits for it: what is in front has to be taken first, then the packet comes again */
		if ((s32)(w->seq - w->rcv_nxt) > 0) {
			w->reason = AX_DENY_ORDER;
			r = AX_DO_DROP;
		} else {
			g->s.r.phase = AX_G_DENIED;
		}
	}
	ax_barrier();
	g->busy = 0;
acted:
	bpf_sk_release(sk);
	if (r == AX_DO_PASS) {
		if (w->reason && w->soft) {
			ax_deny_count(w->reason);
			ax_verdict_count(w->policy, AX_VERDICT_AUDIT);
		}
		r = AX_TC_PASS;
		goto out;
	}
	r = ax_gate_end(skb, lvl, r);
	goto out;
release:
	bpf_sk_release(sk);
out:
	w->owner = 0;
	return r;
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* early.h - first data before there is a socket to keep its judgement: it is kept by the packet's addresses. */
#ifndef AX_EARLY_H
#define AX_EARLY_H

#include "answer.h"
#include "caller.h"
#include "memo.h"
#include "options.h"
#include "payload.h"
#include "workload.h"

AX_MAP(ax_early_area, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct ax_early, 2, 0);

/* The packet's addresses alone: the socket's own hook may see it on another interface. */
static __always_inline struct ax_pair *ax_early_pair(struct ax_gw *w)
{
	struct ax_pair *p = ax_pair_of(w);

	p->ifindex = 0;
	return p;
}

/* As much of the kernel's struct as is read; its offset is relocated at load. */
struct tcp_request_sock {
	u32 rcv_isn;
} __attribute__((preserve_access_index));

/* Where a packet lies on a connection whose handshake lacks nothing but its end. */
enum ax_half {
	AX_HALF_NONE = 0,	/* there is no such connection, nor anybody who listens for one */
	AX_HALF_BEGIN,		/* at the stream's beginning */
	AX_HALF_ELSEWHERE,	/* in front of it, from where TCP cuts off what is read as the beginning of a request; or behind it */
	AX_HALF_STRAY,		/* somebody listens, who knows of no such connection */
};

/* The number of the SYN of a connection whose handshake is under way. 0, or -1: it cannot be read. */
static __always_inline int ax_request_isn(struct ax_gw *w, struct bpf_sock *sk, u32 *isn)
{
	struct tcp_request_sock *req;

	if (!(ax_config.kernel_has & AX_HAS_TYPES))
		return -1;
	req = bpf_skc_to_tcp_request_sock(sk);
	if (req) {
		*isn = req->rcv_isn;
		return 0;
	}
	/* the kernel names only the sockets of TCP itself so, not those that Multipath TCP listens for */
	if (!(ax_config.kernel_has & AX_HAS_TASK_COMM))
		return -1;
	w->request = (u64)(long)sk;
	ax_barrier();
	req = (struct tcp_request_sock *)(long)w->request;
	return bpf_core_read(isn, sizeof(*isn), &req->rcv_isn);
}

/* Is the packet one of a connection whose handshake lacks nothing but its end? A listener on every address is found for
 * what only passes through this host as well, and a sender may invent its address. enum ax_half. */
AX_GLOBAL int ax_half_open(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct bpf_sock *sk;
	u8 *ip, *th;
	int half = AX_HALF_NONE;
	u32 isn;

	if (!w)
		return AX_HALF_NONE;
	sk = ax_server_socket(skb, w, 1);
	if (!sk)
		return AX_HALF_NONE;
	ip = w->out;
	th = w->out + 64;
	if (sk->state == AX_TCP_NEW_SYN_RECV) {
		half = !ax_request_isn(w, sk, &isn) && isn + 1 == w->seq ? AX_HALF_BEGIN : AX_HALF_ELSEWHERE;
	} else if (sk->state == AX_TCP_LISTEN && !bpf_skb_load_bytes(skb, w->l2 + w->iplen, th, 20)) {
		/* a SYN cookie, which is that of one sequence number */
		half = AX_HALF_STRAY;
		if (w->ip6 && !bpf_skb_load_bytes(skb, w->l2, ip, 40) && !bpf_tcp_check_syncookie(sk, ip, 40, (void *)th, 20))
			half = AX_HALF_BEGIN;
		if (!w->ip6 && !bpf_skb_load_bytes(skb, w->l2, ip, 20) && !bpf_tcp_check_syncookie(sk, ip, 20, (void *)th, 20))
			half = AX_HALF_BEGIN;
	}
	bpf_sk_release(sk);
	return half;
}

/* Do two readings of first data stand at the same place, between heads? Then it does not matter which of them TCP takes. */
static __always_inline int ax_early_same(const struct ax_early *a, const struct ax_early *b)
{
	u64 differs = 0;

	for (u32 i = 0; i < sizeof(a->s.r) / 8; i++)
		differs |= ((const u64 *)&a->s.r)[i] ^ ((const u64 *)&b->s.r)[i];
	return !differs && a->s.next == b->s.next && a->s.heads == b->s.heads && a->s.n == b->s.n && !ax_in_head(a->s.r.phase);
}

/* Nothing is denied: what TCP takes need not be what was read of first data. */
static __always_inline void ax_early_doubt(struct ax_early *kept)
{
	kept->s.r.phase = AX_G_LOST;
	kept->s.doubtful = 1;
}

/* Makes room for one more. 0, or -1: everything that is kept is too young to be given up. */
AX_GLOBAL int ax_early_place(u32 lvl, u64 now)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_turn *turn;
	struct ax_pair *place;
	struct ax_early *old;
	u32 i = 0;

	turn = bpf_map_lookup_elem(&ax_early_turns, &i);
	if (!w || !turn)
		return -1;
	i = ax_next_turn(turn) & (AX_EARLIES - 1);
	place = bpf_map_lookup_elem(&ax_early_places, &i);
	if (!place)
		return -1;
	old = bpf_map_lookup_elem(&ax_early, place);
	if (old && now - old->at < AX_EARLY_DOUBT)
		return -1;
	if (old)
		bpf_map_delete_elem(&ax_early, place);
	*place = *ax_early_pair(w);
	return 0;
}

/* First data of a connection that its server has not accepted yet (deferred accept, a busy queue, SYN cookies): judged as
 * its beginning, and kept for the child. There is one that begins where the child does, or the child is reset. */
AX_GLOBAL int ax_gate_early(struct __sk_buff *skb, u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_early *e, *kept;
	u32 area = lvl;
	int r, wait, half;

	if (!w)
		return AX_DO_DROP;
	wait = w->soft ? AX_DO_PASS : AX_DO_DROP;
	e = bpf_map_lookup_elem(&ax_early_area, &area);
	if (!e)
		return AX_DO_DROP;
	e->at = bpf_ktime_get_ns();
	kept = bpf_map_lookup_elem(&ax_early, ax_early_pair(w));
	if (kept && e->at - kept->at < AX_EARLY_OLD && kept->s.start != w->seq && w->seq - kept->s.start < 1 << 20) {
		/* what was let by in front of it covers it; if that has not made a child by then, the socket's hook drops this */
		if (kept->s.r.phase == AX_G_PASS || (s32)(w->seq + w->end - kept->s.next) <= 0)
			return AX_DO_PASS;
		w->reason = AX_DENY_ORDER;	/* the child will take it, when there is one */
		if (w->soft)
			ax_early_doubt(kept);
		return wait;
	}
	half = ax_half_open(skb, lvl);
	if (half == AX_HALF_ELSEWHERE) {
		w->reason = AX_DENY_ORDER;
		if (w->soft && kept)
			ax_early_doubt(kept);
		return wait;
	}
	if (half != AX_HALF_BEGIN && !(kept && kept->s.start == w->seq))
		return half == AX_HALF_STRAY && !w->soft ? AX_DO_STRAY : AX_DO_PASS;	/* not ours; else it will be found unjudged */
	ax_identify(skb, lvl);
	__builtin_memset(&w->r, 0, sizeof(w->r));
	w->first = 1;
	w->number = 0;
	w->counted = kept && kept->s.start == w->seq;
	r = AX_DO_PASS;
	if (!w->soft && ax_allowed_unread(lvl, secret)) {
		w->r.phase = AX_G_PASS;
	} else if (ax_gate_read(skb, lvl, w, secret, 0)) {
		ax_gate_blame(w);
		if (ax_gate_unread_by(w))
			w->r.phase = AX_G_PASS;
		else if (!w->soft)
			return AX_DO_RESET;
		else
			w->r.phase = AX_G_LOST;
	}
	/* its server does not read all of it as part of the stream, or in another order */
	if (w->soft && (w->tcp_flags & AX_TCP_URG || (w->optioned && ax_multipath(skb, lvl))))
		w->r.phase = AX_G_LOST;
	__builtin_memset(&e->s, 0, sizeof(e->s));
	e->s.doubtful = w->r.phase == AX_G_LOST;
	e->s.start = w->seq;
	e->s.next = w->seq + w->end + ax_gate_ahead(w);
	e->s.heads = w->seq + w->framed;
	e->s.open = 1;
	e->s.gen = 0;
	e->s.offs = w->offs;
	e->s.ident = w->ident;
	e->s.block = w->block;
	e->s.serial = w->set.serial;
	e->s.r = w->r;
	if (w->r.phase != AX_G_PASS && w->r.phase != AX_G_LOST)
		ax_memo_keep(&e->s, e->memo, w);
	e->s.n = w->heads;
	__builtin_memset(&e->told, 0, sizeof(e->told));
	if (w->heads && w->heads <= AX_TOLD)
		e->told = w->told[0];
	if (kept && kept->s.start == w->seq) {
		if (ax_early_same(kept, e)) {
			kept->at = e->at;
			return r;
		}
		/* Both may wait behind us, and TCP takes the one that it comes to first: there is one state, so only one packet
		 * passes. Later it is one that was lost, and comes again. */
		w->reason = AX_DENY_RESENT;
		if (w->soft)
			ax_early_doubt(kept);
		if (e->at - kept->at >= AX_EARLY_DOUBT)
			bpf_map_delete_elem(&ax_early, ax_early_pair(w));
		return wait;
	}
	if (kept)
		bpf_map_delete_elem(&ax_early, ax_early_pair(w));
	ax_texts_move(&e->t, &w->t);
	if (ax_early_place(lvl, e->at) || bpf_map_update_elem(&ax_early, ax_early_pair(w), e, BPF_NOEXIST)) {
		w->reason = AX_DENY_EARLY;
		return wait;
	}
	/* Another core may have made the child while this was read: it was born without, and has begun anew. */
	if (ax_half_open(skb, lvl) != AX_HALF_BEGIN) {
		bpf_map_delete_elem(&ax_early, ax_early_pair(w));
		w->reason = AX_DENY_BUSY;
		return wait;
	}
	return r;
}

/* A socket's addresses as its packets have them: those of IPv4 in the first four bytes. */
static __always_inline void ax_packet_address(u8 *out, const u8 *addr)
{
	if (*(u64 *)addr || *(u32 *)(addr + 8) != 0xffff0000) {
		__builtin_memcpy(out, addr, 16);
	} else {
		__builtin_memset(out, 0, 16);
		*(u32 *)out = *(u32 *)(addr + 12);
	}
}

/* A server's connection begins: what was judged of it before it had a socket is the socket's from now on. */
static __always_inline void ax_gate_born(struct bpf_sock_ops *ops)
{
	struct ax_pol_ctl *ctl = ax_pol_control();
	u8 addr[16] __attribute__((aligned(8)));
	struct bpf_sock *sk = ops->sk;
	struct ax_texts *texts;
	struct ax_pair p = {};
	struct ax_early *e;
	struct ax_gate *g;

	if (!sk || !ctl || !ctl->gen || !ctl->mode)
		return;
	ax_remote(sk, addr);
	ax_packet_address(p.src, addr);
	ax_local(sk, addr);
	ax_packet_address(p.dst, addr);
	p.ports = (u32)(u16)sk->dst_port << 16 | bpf_htons(sk->src_port);
	e = bpf_map_lookup_elem(&ax_early, &p);
	if (!e)
		return;
	g = bpf_sk_storage_get(&ax_gates, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (g && g->met) {
		g->s.doubtful = 1;	/* another core has judged what begins it, as if nothing had been there */
	} else if (g && e->s.start == ops->rcv_nxt && e->s.offs == ctl->offs) {
		g->s = e->s;
		g->s.born = e->at >> 20 | 1;
		g->told[0] = e->told;
		if (e->s.memo_len)
			ax_head_copy(g->memo, e->memo, e->s.memo_len);
		if (ax_in_head(e->s.r.phase)) {
			texts = bpf_sk_storage_get(&ax_gate_texts, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
			if (texts)
				ax_texts_move(texts, &e->t);
			else
				g->s.r.phase = AX_G_LOST;
		}
		ax_barrier();
		g->met = 1;
	}
	bpf_map_delete_elem(&ax_early, &p);
}

#endif

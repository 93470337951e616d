/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * position.h - where the reading of a connection stands: found at first, kept behind each packet, and compared with where the
 * next one begins.
 *
 * What is judged need not be what TCP takes: a packet may be discarded behind us, and others come in its place. So of
 * what TCP has not taken yet (at or above its rcv_nxt) only the very same bytes are let by again.
 */
#ifndef AX_POSITION_H
#define AX_POSITION_H

#include "conn.h"
#include "early.h"
#include "memo.h"

/* The state of a connection that we have not judged before: fresh, or, where nothing is denied, known from the observer.
 * That reads as lenient servers do, and which of two such readings its server has is not known. */
static __always_inline void ax_gate_begin(struct ax_gate_state *s, struct ax_gw *w, const struct ax_conn *c, u64 received)
{
	s->next = w->rcv_nxt;
	s->r.phase = AX_G_LOST;
	if (s->doubtful && !w->soft)
		return;
	if (!received) {
		s->r.phase = AX_G_START;
		return;
	}
	s->doubtful = 1;
	if (w->soft && c && c->kind == AX_KIND_HTTP && c->role == AX_ROLE_SERVER && c->req.phase == AX_PH_START &&
	    !c->reqr.carry && c->req.nxt == w->rcv_nxt && !c->early && !c->doubt) {
		s->r.phase = AX_G_START;
		s->n = c->req.n;
	}
}

/* As much of the kernel's structs as is read; their offsets are relocated at load. */
struct rb_root {
	struct rb_node *rb_node;
} __attribute__((preserve_access_index));

struct tcp_sock {
	u16 urg_data;		/* not 0: an urgent byte is announced, or not read yet */
	struct rb_root out_of_order_queue;
} __attribute__((preserve_access_index));

/* Will TCP take a byte out of the stream that the server reads (RFC 6093), or has it data that waits for what is in front? */
static __always_inline int ax_tcp_holds(struct bpf_sock *sk)
{
	struct tcp_sock *tp;

	if (!(ax_config.kernel_has & AX_HAS_TYPES))
		return 1;	/* nobody knows: nothing is let by */
	tp = bpf_skc_to_tcp_sock(sk);
	return tp && (tp->urg_data || tp->out_of_order_queue.rb_node);
}

/* Finds where a connection's reading stands, if that is not known. */
static __always_inline void ax_gate_find(struct ax_gw *w, struct bpf_sock *sk, struct ax_gate *g, const struct ax_conn *c,
					 u64 received)
{
	struct ax_gate_state *s = &g->s;

	/* what came while nothing was judged goes with what comes now */
	if ((s->r.phase == AX_G_LOST || s->offs != w->offs) && ax_tcp_holds(sk))
		s->doubtful = 1;
	/* TCP has taken what was never judged: nothing was, for a while (mode off). What is decided reaches less than 2 GiB
	 * ahead, so that more than those have not been judged either, wherever the numbers have wrapped to. A run on another
	 * core may have counted later than this one, and more. */
	if (s->r.phase < AX_G_PASS && ((s32)(w->rcv_nxt - s->next) > 0 || (s64)(received - s->received) > 0x7fffffff ||
				       (s->doubtful && !w->soft)))
		s->r.phase = AX_G_LOST;
	/* TCP had not taken what was judged last, and while the mode was off it may have taken something else */
	if (s->offs != w->offs && s->open && s->r.phase < AX_G_PASS)
		s->r.phase = AX_G_LOST;
	s->offs = w->offs;
	if (s->r.phase == AX_G_LOST)
		ax_gate_begin(s, w, c, received);
}

/* TCP has taken nothing of what was judged before there was a socket (its queue was full), and the head is too long to be
 * compared with what comes now. What may still be under way is waited for; then the connection begins anew. */
static __always_inline int ax_gate_anew(struct ax_gw *w, struct ax_gate_state *s)
{
	if (!s->born || s->received || s->memo_len || w->soft || w->seq != w->rcv_nxt || s->next == w->seq)
		return AX_DO_READ;
	if ((u32)(bpf_ktime_get_ns() >> 20) - s->born <= AX_EARLY_DOUBT >> 20) {
		w->reason = AX_DENY_RESENT;
		return AX_DO_DROP;
	}
	__builtin_memset(&s->r, 0, sizeof(s->r));
	s->n = 0;
	s->open = 0;
	s->born = 0;
	s->next = w->seq;
	return AX_DO_READ;
}

/* What is decided by the packet's place in the stream, `past` bytes of which have been read before; else AX_DO_READ. */
static __always_inline int ax_gate_place(struct __sk_buff *skb, struct ax_gw *w, struct ax_gate *g, int past)
{
	struct ax_gate_state *s = &g->s;
	u32 end = w->seq + w->end;
	int r;

	if (past < 0) {
		w->reason = AX_DENY_ORDER;
		if (!w->soft)
			return AX_DO_DROP;
		s->r.phase = AX_G_LOST;
		s->doubtful = 1;
		return AX_DO_PASS;
	}
	if (past > 0 && s->open && (s32)(end - w->rcv_nxt) > 0 && (s32)(w->seq - s->heads) < 0) {
		r = ax_gate_again(skb, w, g);
		if (r) {
			w->reason = AX_DENY_RESENT;
			w->policy = w->set.deny;
			if (!w->soft)
				return r;
			/* TCP may take the one or the other: what was decided of the one says nothing any more */
			s->r.phase = AX_G_LOST;
			return AX_DO_PASS;
		}
	}
	if (past >= (int)w->end)
		return AX_DO_PASS;
	if (s->r.phase == AX_G_UPGRADE) {	/* its answer has not come yet */
		w->reason = AX_DENY_ORDER;
		return w->soft ? AX_DO_PASS : AX_DO_DROP;
	}
	return AX_DO_READ;
}

/* Keeps what was decided of the packet's requests, for the hook that will tell of them. */
static __always_inline void ax_told_keep(struct ax_gate *g, const struct ax_gw *w)
{
	u32 n = g->s.n;

	if (w->heads == 1) {
		g->told[n & (AX_TOLD - 1)] = w->told[n & (AX_TOLD - 1)];
	} else if (w->heads) {
#pragma clang loop unroll(full)
		for (u32 i = 0; i < AX_TOLD; i++)
			if (((i - n) & (AX_TOLD - 1)) < w->heads)
				g->told[i] = w->told[i];
	}
}

/* Keeps where the reading stands behind a packet of which everything is allowed; `past` bytes of it had been read before. */
static __always_inline void ax_gate_keep(struct ax_gate *g, struct ax_gw *w, int past)
{
	struct ax_gate_state *s = &g->s;
	u32 end = w->seq + w->end;

	if (w->framed) {
		s->open = 1;
		s->heads = w->seq + w->framed;
	}
	s->memo_len = 0;
	if (!past && s->r.phase == AX_G_START)
		ax_memo_keep(s, g->memo, w);
	ax_told_keep(g, w);
	s->n += w->heads;
	end += ax_gate_ahead(w);
	s->r = w->r;
	ax_barrier();
	s->next = end;
}

#endif

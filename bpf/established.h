/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * established.h - data for a connection's own socket: where its judgement stands, and what it makes of the next packet.
 *
 * What is judged need not be what TCP takes: a packet may be discarded behind us, and others come in its place. So of
 * what TCP has not taken yet (at or above its rcv_nxt) only the very same bytes are let by again.
 */
#ifndef AX_ESTABLISHED_H
#define AX_ESTABLISHED_H

#include "caller.h"
#include "conn.h"
#include "early.h"
#include "memo.h"
#include "payload.h"

/* The state of a connection that we have not judged before: fresh, adopted, or known from the observer. Returns what was
 * adopted, or 0. */
static __always_inline struct ax_early *ax_gate_begin(struct ax_gate_state *s, struct ax_gw *w, struct ax_conn *c,
						     u64 received)
{
	struct ax_early *e;

	s->next = w->rcv_nxt;
	s->r.phase = AX_G_LOST;
	if (!received) {
		s->r.phase = AX_G_START;
		return 0;
	}
	e = bpf_map_lookup_elem(&ax_early, ax_early_pair(w));
	if (e) {
		if (e->s.start == w->rcv_nxt - (u32)received && (s32)(e->s.next - w->rcv_nxt) >= 0) {
			*s = e->s;
			return e;
		}
	}
	if (c && c->kind == AX_KIND_HTTP && c->role == AX_ROLE_SERVER && c->req.phase == AX_PH_START && !c->reqr.carry &&
	    c->req.nxt == w->rcv_nxt && !c->early && !c->doubt) {
		s->r.phase = AX_G_START;
		s->n = c->req.n;
	}
	return 0;
}

/* Has every request that was let by been answered in full, and has the client got the answers? */
static __always_inline int ax_nothing_owed(const struct ax_gate_state *s, const struct ax_conn *c, const struct ax_gw *w)
{
	if (w->snd_una != w->snd_nxt)
		return 0;
	if (!s->n)
		return !w->sent;	/* nor has the server said anything unasked */
	return c && c->kind == AX_KIND_HTTP && c->resp.n == s->n;
}

/* Takes the connection for this run. 0: another core has it. */
static __always_inline int ax_gate_take(struct ax_gate *g)
{
	int mine;

	bpf_spin_lock(&g->lock);
	mine = !g->busy;
	g->busy = 1;
	bpf_spin_unlock(&g->lock);
	return mine;
}

/* What the decided part of an answer is: the last request asked for WebSocket, and its answer says what follows. */
static __always_inline void ax_gate_upgraded(struct ax_gate_state *s, const struct ax_conn *c)
{
	if (c && c->kind == AX_KIND_UPGRADED)
		s->r.phase = AX_G_PASS;
	else if (c && c->kind == AX_KIND_HTTP && c->resp.n == s->n)
		s->r.phase = AX_G_START;
}

/* Judges a packet with data for an established socket of a selected workload. enum ax_gate_do. */
static __always_inline int ax_gate_judge(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, struct bpf_sock *sk,
					 struct ax_gate *g, struct ax_conn *c, u64 secret)
{
	struct ax_gate_state *s = &g->s;
	u32 end = w->seq + w->end;
	struct ax_texts *kept;
	int r, past, changed;

	if (s->gen != w->gen) {
		if (ax_identify(skb, lvl))
			return AX_DO_DROP;
		changed = s->serial != w->set.serial || s->ident != w->ident || s->block != w->block;
		s->ident = w->ident;
		s->block = w->block;
		s->gen = w->gen;
		if (changed) {
			s->memo_len = 0;
			/* let by unread under another set */
			if (s->r.phase == AX_G_PASS && !(c && c->kind == AX_KIND_UPGRADED))
				s->r.phase = AX_G_LOST;
		}
		if (!w->soft && (s->r.phase == AX_G_LOST || (s->r.phase == AX_G_START && !s->n)) &&
		    ax_allowed_unread(lvl, secret)) {
			s->r.phase = AX_G_PASS;
			s->next = w->rcv_nxt;
			ax_verdict_count(w->policy, AX_VERDICT_FORWARDED);
		}
		s->serial = w->set.serial;
	}
	w->ident = s->ident;
	w->block = s->block;
	if (s->r.phase == AX_G_UPGRADE)
		ax_gate_upgraded(s, c);
	if (s->r.phase == AX_G_PASS) {
		s->next = end;
		return AX_DO_PASS;
	}
	if (s->r.phase >= AX_G_LOST) {
		w->reason = AX_DENY_POSITION;
		w->policy = w->set.deny;
		return w->soft ? AX_DO_PASS : AX_DO_RESET;
	}
	if (w->tcp_flags & AX_TCP_URG && !w->soft) {
		w->reason = AX_DENY_URGENT;
		return AX_DO_RESET;
	}
	if (s->open && (s32)(w->rcv_nxt - s->heads) >= 0)
		s->open = 0;
	if (ax_gate_repeats(skb, w, g)) {
		s->open = 1;
		s->memo_seq = w->seq;
		s->heads = end;
		s->memo.number = s->n;
		g->told[s->n & (AX_TOLD - 1)] = s->memo;
		s->n++;
		s->next = end;
		ax_verdict_count(s->memo.policy, s->memo.verdict);
		return AX_DO_PASS;
	}
	past = s->next - w->seq;
	if (past < 0) {
		w->reason = AX_DENY_ORDER;
		if (!w->soft)
			return AX_DO_DROP;
		s->r.phase = AX_G_LOST;
		return AX_DO_PASS;
	}
	if (past > 0 && s->open && (s32)(end - w->rcv_nxt) > 0 && (s32)(w->seq - s->heads) < 0 && !w->soft) {
		r = ax_gate_again(skb, w, g);
		if (r) {
			w->reason = AX_DENY_RESENT;
			w->policy = w->set.deny;
			return r;
		}
	}
	if (past >= (int)w->end)
		return AX_DO_PASS;
	if (s->r.phase == AX_G_UPGRADE) {	/* its answer has not come yet */
		w->reason = AX_DENY_ORDER;
		return w->soft ? AX_DO_PASS : AX_DO_DROP;
	}
	w->r = s->r;
	w->first = !s->n;
	w->number = s->n;
	if (ax_in_head(s->r.phase)) {
		kept = bpf_sk_storage_get(&ax_gate_texts, sk, 0, 0);
		if (!kept) {
			w->reason = AX_DENY_MEMORY;
			return AX_DO_RESET;
		}
		ax_texts_move(&w->t, kept);
	}
	r = ax_gate_read(skb, lvl, w, secret, past);
	if (r) {
		if (w->reason == AX_DENY_NON_HTTP && w->set.flags & AX_POL_NON_HTTP) {
			s->r.phase = AX_G_PASS;
			s->next = end;
			return AX_DO_PASS;
		}
		if (w->reason != AX_DENY_RULE)
			w->policy = w->set.flags & AX_POL_ENFORCE ? w->set.deny : w->set.audit;
		if (w->soft) {
			s->r.phase = AX_G_LOST;
			return AX_DO_PASS;
		}
		/* what was let by in this packet before is owed an answer; it does not get there either */
		return ax_answerable(w) && ax_nothing_owed(s, c, w) ? AX_DO_ANSWER : AX_DO_RESET;
	}
	if (ax_in_head(w->r.phase)) {
		kept = bpf_sk_storage_get(&ax_gate_texts, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!kept) {
			w->reason = AX_DENY_MEMORY;
			return AX_DO_RESET;
		}
		ax_texts_move(kept, &w->t);
	}
	if (w->framed) {
		s->open = 1;
		s->heads = w->seq + w->framed;
	}
	s->memo_len = 0;
	if (w->heads == 1 && !past && s->r.phase == AX_G_START && w->refills == 1 && w->head_end <= AX_WINDOW) {
		u32 len = w->head_end;

		s->memo_len = len;
		ax_pad_head(w, len);
		AX_OPAQUE(len);
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_WINDOW; i += AX_BLOCK) {
			if (i >= len)
				break;
#pragma clang loop unroll(full)
			for (u32 k = 0; k < AX_BLOCK; k += 8)
				*(u64 *)(g->memo + i + k) = *(u64 *)(w->win + i + k);
		}
		s->memo_seq = w->seq;
		s->memo = w->told[s->n & (AX_TOLD - 1)];
		/* a body, or an upgrade, does not follow from the bytes alone */
		if (w->r.phase != AX_G_START || w->head_end != w->end)
			s->memo.verdict = AX_VERDICT_NONE;
	}
	if (w->heads == 1) {
		g->told[s->n & (AX_TOLD - 1)] = w->told[s->n & (AX_TOLD - 1)];
	} else if (w->heads) {
#pragma clang loop unroll(full)
		for (u32 i = 0; i < AX_TOLD; i++)
			if (((i - s->n) & (AX_TOLD - 1)) < w->heads)
				g->told[i] = w->told[i];
	}
	s->n += w->heads;
	/* of a body what is still to come is decided as well */
	if ((w->r.phase == AX_G_BODY || w->r.phase == AX_G_DATA) && w->r.left) {
		u64 ahead = w->r.left > AX_G_AHEAD ? AX_G_AHEAD : w->r.left;

		w->r.left -= ahead;
		end += ahead;
		if (!w->r.left) {
			if (w->r.phase == AX_G_DATA)
				w->r.phase = AX_G_DATA_CR;
			else
				ax_g_next(w);
		}
	}
	s->r = w->r;
	ax_barrier();
	s->next = end;
	return AX_DO_PASS;
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * established.h - packets for a connection's own socket: what is decided of them, and what of them is never read.
 */
#ifndef AX_ESTABLISHED_H
#define AX_ESTABLISHED_H

#include "caller.h"
#include "known.h"
#include "memo.h"
#include "options.h"
#include "payload.h"
#include "position.h"

#define AX_OLD_ACK (1 << 20)	/* an acknowledgement so far behind is none (RFC 5961 section 5.2) */
#define AX_NEW_ACK (1 << 19)	/* nor is one so far ahead: the longest segment that is sent at once is shorter (BIG TCP) */

/* Has every request that was let by been answered in full, and has the client got the answers? */
static __always_inline int ax_nothing_owed(const struct ax_gate_state *s, const struct ax_conn *c, const struct ax_gw *w)
{
	if (w->snd_una != w->snd_nxt)
		return 0;
	if (!s->n)
		return !w->sent;	/* nor has the server said anything unasked */
	return c && c->kind == AX_KIND_HTTP && !(c->flags & AX_C_LOOSE) && c->resp.n == s->n;
}

/* Takes the connection for this run. 0: another core has it, and gives it back without the lock: nothing may be written then, or
 * nobody would ever give it back. */
static __always_inline int ax_gate_take(struct ax_gate *g)
{
	int mine = 0;

	bpf_spin_lock(&g->lock);
	if (!AX_READ(g->busy)) {
		g->busy = 1;
		mine = 1;
	}
	bpf_spin_unlock(&g->lock);
	return mine;
}

/* Has the server said that it goes on in the protocol that the last request asked for (101)? The observer, which reads its
 * answers, must have counted as many requests as were let by here, and never have lost its place: a client can bring that
 * about, and have another answer taken for this one's. */
static __always_inline int ax_switched(const struct ax_gate_state *s, const struct ax_conn *c)
{
	return c && c->kind == AX_KIND_UPGRADED && c->status == 101 && !(c->flags & AX_C_LOOSE) && c->resp.n == s->n;
}

/* The last request asked for WebSocket, and its answer says what follows. */
static __always_inline void ax_gate_upgraded(struct ax_gate_state *s, const struct ax_conn *c)
{
	if (ax_switched(s, c))
		s->r.phase = AX_G_PASS;
	else if (!c || (c->kind == AX_KIND_HTTP && !(c->flags & AX_C_LOOSE)))
		s->r.phase = c && c->resp.n == s->n ? AX_G_START : AX_G_UPGRADE;
	else
		s->r.phase = AX_G_LOST;
}

/* Brings a connection up to the generation in force, and to where its packets come from: who asks, and whether what was
 * decided before still holds. */
static __always_inline int ax_gate_renew(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, struct ax_gate_state *s,
					 const struct ax_conn *c, u64 secret)
{
	int changed;

	if (ax_identify(skb, lvl))
		return -1;
	changed = s->serial != w->set.serial || s->ident != w->ident || s->block != w->block;
	s->ident = w->ident;
	s->block = w->block;
	s->gen = w->gen;
	s->came = ax_came_by(skb, w);
	if (changed) {
		s->memo_len = 0;
		/* let by unread under another set */
		if (s->r.phase == AX_G_PASS && !ax_switched(s, c))
			s->r.phase = AX_G_LOST;
	}
	if (!w->soft && (s->r.phase == AX_G_LOST || (s->r.phase == AX_G_START && !s->n)) && ax_allowed_unread(lvl, secret)) {
		s->r.phase = AX_G_PASS;
		s->next = w->rcv_nxt;
		ax_verdict_count(w->policy, AX_VERDICT_FORWARDED);
	}
	s->serial = w->set.serial;
	return 0;
}

/* Has TCP all of the packet already? It answers such a one, so that its sender knows, and reads none of it. */
static __always_inline int ax_is_old(const struct ax_gw *w)
{
	return (s32)(w->seq + w->end - w->rcv_nxt) <= 0;
}

/* What is decided without a look at the payload; else AX_DO_READ. */
static __always_inline int ax_gate_unread(struct ax_gw *w, struct ax_gate_state *s, const struct ax_conn *c)
{
	if (!w->soft && ax_is_old(w)) {
		if (!(w->tcp_flags & AX_TCP_URG))
			return AX_DO_PASS;
		w->reason = AX_DENY_STRAY;	/* anybody may have sent it */
		return AX_DO_DROP;
	}
	if (s->r.phase == AX_G_UPGRADE)
		ax_gate_upgraded(s, c);
	if (s->r.phase == AX_G_PASS) {
		s->next = w->seq + w->end;
		return AX_DO_PASS;
	}
	if (c && c->kind == AX_KIND_UPGRADED && !(c->flags & AX_C_LOOSE)) {
		/* to what is not read: HTTP/2 (h2c) */
		s->r.phase = AX_G_LOST;
		w->reason = AX_DENY_UPGRADE;
		w->policy = w->set.deny;
		return w->soft ? AX_DO_PASS : AX_DO_RESET;
	}
	if (s->r.phase >= AX_G_LOST) {
		w->reason = AX_DENY_POSITION;
		w->policy = w->set.deny;
		return w->soft ? AX_DO_PASS : AX_DO_RESET;
	}
	if (w->tcp_flags & AX_TCP_URG) {
		w->reason = AX_DENY_URGENT;
		if (!w->soft)
			return AX_DO_RESET;
		/* its server does not read all of it as part of the stream */
		s->r.phase = AX_G_LOST;
		s->doubtful = 1;
		return AX_DO_PASS;
	}
	return AX_DO_READ;
}

/* What becomes of a packet that was read, and in it something that is not allowed. */
static __always_inline int ax_gate_denied(struct ax_gw *w, struct ax_gate_state *s, const struct ax_conn *c)
{
	ax_gate_blame(w);
	if (ax_gate_unread_by(w)) {
		s->r.phase = AX_G_PASS;
		s->next = w->seq + w->end;
		return AX_DO_PASS;
	}
	if (w->soft) {
		s->r.phase = AX_G_LOST;
		s->doubtful = 1;
		return AX_DO_PASS;
	}
	/* what was let by in this packet before is owed an answer; it does not get there either */
	return ax_answerable(w) && ax_nothing_owed(s, c, w) ? AX_DO_ANSWER : AX_DO_RESET;
}

/* Judges a packet with data for an established socket of a selected workload. enum ax_gate_do. */
static __always_inline int ax_gate_judge(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, struct bpf_sock *sk,
					 struct ax_gate *g, const struct ax_conn *c, u64 secret)
{
	struct ax_gate_state *s = &g->s;
	int r, past;

	if (s->gen != w->gen || ax_from_elsewhere(skb, w, s->came)) {
		if (!w->soft && ax_untold(skb, w, s->came)) {
			w->reason = AX_DENY_UNTOLD;
			return AX_DO_DROP;
		}
		if (ax_gate_renew(skb, lvl, w, s, c, secret))
			return AX_DO_DROP;
	}
	w->ident = s->ident;
	w->block = s->block;
	r = ax_gate_unread(w, s, c);
	if (r != AX_DO_READ)
		return r;
	if (s->open && (s32)(w->rcv_nxt - s->heads) >= 0)
		s->open = 0;
	if (ax_gate_repeats(skb, w, g)) {
		ax_memo_again(g, w);
		return AX_DO_PASS;
	}
	r = ax_gate_anew(w, s);
	if (r != AX_DO_READ)
		return r;
	past = s->next - w->seq;
	r = ax_gate_place(skb, w, g, past);
	if (r != AX_DO_READ)
		return r;
	w->r = s->r;
	w->first = !s->n;
	w->number = s->n;
	if (!past && w->r.phase == AX_G_START) {
		r = ax_known_head(skb, lvl, secret);
		if (r < 0)
			return ax_gate_denied(w, s, c);
		if (r) {
			ax_gate_keep(g, w, 0);
			return AX_DO_PASS;
		}
	}
	if (ax_in_head(w->r.phase) && ax_texts_back(w, sk))
		return w->soft ? ax_gate_denied(w, s, c) : AX_DO_RESET;
	if (ax_gate_read(skb, lvl, w, secret, past)) {
		if (!past && s->r.phase == AX_G_START)
			ax_known_keep_denied(w, lvl, secret);
		return ax_gate_denied(w, s, c);
	}
	if (ax_in_head(w->r.phase) && ax_texts_keep(w, sk))
		return w->soft ? ax_gate_denied(w, s, c) : AX_DO_RESET;
	ax_gate_keep(g, w, past);
	if (s->memo_len && s->memo.verdict != AX_VERDICT_NONE)
		ax_known_keep(lvl, secret);
	return AX_DO_PASS;
}

/* A reset is taken only at the number that TCP is at (RFC 5961 section 3.2), and not at all when too much waits for it:
 * what is in front has to be taken first, then the packet comes again. */
static __always_inline int ax_gate_refuse(struct ax_gw *w, struct ax_gate_state *s, int what)
{
	if ((s32)(w->seq - w->rcv_nxt) > 0) {
		w->reason = AX_DENY_ORDER;
		return AX_DO_DROP;
	}
	s->r.phase = AX_G_DENIED;
	return what;
}

/* Data for a connection, whose gate is `g`, if it has one. */
static __always_inline int ax_gate_data(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, struct bpf_sock *sk,
					struct ax_gate *g, u64 received, u64 secret)
{
	struct ax_conn *c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	int r;

	if (!g) {
		g = bpf_sk_storage_get(&ax_gates, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!g) {
			w->reason = AX_DENY_MEMORY;
			return w->soft ? AX_DO_PASS : AX_DO_DROP;
		}
	}
	if (!ax_gate_take(g)) {
		w->reason = AX_DENY_BUSY;
		if (!w->soft)
			return AX_DO_DROP;
		g->s.doubtful = 1;
		return AX_DO_PASS;
	}
	if (w->optioned && w->soft && ax_multipath(skb, lvl))
		g->s.doubtful = 1;	/* its server may read it in another order */
	if (!g->met) {
		g->met = 1;
		g->s.r.phase = AX_G_LOST;
	}
	ax_gate_find(w, sk, g, c, received);
	g->s.received = received;
	r = ax_gate_judge(skb, lvl, w, sk, g, c, secret);
	if (r > AX_DO_DROP)
		r = ax_gate_refuse(w, &g->s, r);
	ax_barrier();
	g->busy = 0;
	return r;
}

/* Would TCP discard the packet? Then it ends nobody's connection, and nothing is read of it. */
static __always_inline int ax_is_stray(const struct ax_gw *w, u32 una)
{
	return !(w->tcp_flags & AX_TCP_ACK) || (s32)(w->snd_una - w->snd_nxt) >= AX_NEW_ACK || (s32)(w->snd_una - una) < -AX_OLD_ACK;
}

/* An urgent mark alone: the byte that it is for comes later, perhaps in a segment without one, and TCP takes it out of the
 * stream that the server reads (RFC 6093). */
static __always_inline int ax_gate_marked(struct ax_gw *w, struct bpf_sock *sk, struct ax_gate *g)
{
	if (g && g->s.r.phase == AX_G_PASS)
		return AX_DO_PASS;
	if (!w->soft) {
		w->reason = AX_DENY_URGENT;
		return AX_DO_DROP;
	}
	if (!g)
		g = bpf_sk_storage_get(&ax_gates, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (g)
		g->s.doubtful = 1;
	return AX_DO_PASS;
}

/* A packet for a connection's own socket. enum ax_gate_do. */
static __always_inline int ax_gate_established(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, struct bpf_sock *sk,
					       u64 secret)
{
	struct bpf_tcp_sock *tp;
	struct ax_gate *g;
	u64 received;
	u32 una;
	int r;

	if (!w->end && !(w->tcp_flags & (AX_TCP_FIN | AX_TCP_URG)))
		return AX_DO_PASS;
	tp = bpf_tcp_sock(sk);
	if (!tp)
		return AX_DO_PASS;
	w->rcv_nxt = AX_READ(tp->rcv_nxt);
	w->snd_nxt = AX_READ(tp->snd_nxt);
	una = AX_READ(tp->snd_una);
	g = bpf_sk_storage_get(&ax_gates, sk, 0, 0);
	if (g && g->s.r.phase == AX_G_DENIED && !w->soft) {
		/* its reset was lost */
		w->reason = AX_DENY_POSITION;
		return AX_DO_END;
	}
	if (!w->end)
		return w->tcp_flags & AX_TCP_URG ? ax_gate_marked(w, sk, g) : AX_DO_PASS;
	if (!w->soft && ax_is_stray(w, una)) {
		w->reason = AX_DENY_STRAY;
		return AX_DO_DROP;
	}
	/* TCP counts what it sends when the device has taken it. On this host the client may have it, and have asked again,
	 * before that: TCP will look at the packet when its server's core has done with the socket. */
	if ((s32)(w->snd_una - w->snd_nxt) > 0)
		w->snd_nxt = w->snd_una;
	if (w->optioned && !w->soft && ax_multipath(skb, lvl)) {
		/* a reset is answered to what TCP would take next, and nothing to what anybody may have sent */
		if (ax_is_old(w) || (s32)(w->seq - w->rcv_nxt) > 0) {
			w->reason = AX_DENY_STRAY;
			return AX_DO_DROP;
		}
		w->reason = AX_DENY_MULTIPATH;
		return AX_DO_RESET;
	}
	/* what this packet acknowledges TCP has not been told yet: a client often does both in one */
	if ((s32)(w->snd_una - una) < 0)
		w->snd_una = una;
	/* the handshake counts for one */
	w->sent = AX_READ(tp->bytes_acked) + (w->snd_nxt - una) > 1;
	received = AX_READ(tp->bytes_received);
	ax_local(sk, w->laddr);
	ax_remote(sk, w->raddr);
	r = ax_gate_data(skb, lvl, w, sk, g, received, secret);
	if (r == AX_DO_PASS)
		ax_gate_audited(w);
	return r;
}

#endif

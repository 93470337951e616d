/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * close.h - the end of a connection in the books: what was asked and will not be answered is counted with
 * the reason, also when the connection died without a packet.
 */
#ifndef AX_CLOSE_H
#define AX_CLOSE_H

#include "packet.h"

/* Counts every request still outstanding. The socket is beyond sending: no hook runs beside this. `error` is what it
 * died of unless we saw something else. */
static __always_inline void ax_settle_dead(struct ax_work *w, u32 lvl, struct bpf_sock *sk, struct ax_conn *c,
					   struct ax_cold *cold, u8 error)
{
	struct ax_ctl *ctl = ax_control();
	u64 now;

	if (!ctl)
		return;
	if (c->seen[0] & AX_SEEN_RESET)
		error = AX_ERROR_RESET;
	else if (c->seen[1] & (AX_SEEN_GIVEN_UP | AX_SEEN_RESET))
		error = AX_ERROR_TIMEOUT;	/* a process's own reset leaves after the state has changed, a timer's before */
	else if ((c->seen[0] | c->seen[1]) & AX_SEEN_FIN)
		error = AX_ERROR_NO_RESPONSE;
	w->now = 0;
	now = ax_now(w);
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_QUEUE + 1; i++) {
		struct ax_done *o = &w->done;

		if (c->req.n == c->resp.n)
			break;
		if (!ax_finish(w, sk, c, now)) {
			o->status = 0;
			o->error = error;
			o->ttfb = o->resp_body = o->resp_wire = 0;
			if (!i && c->resp.phase > AX_PH_START && c->resp.phase != AX_PH_DEAD &&
			    c->resp.phase != AX_PH_FIELDS) {
				o->status = c->status;
				o->error = AX_ERROR_INCOMPLETE;
				o->ttfb = ax_since(o->t0, c->respr.t0);
				o->resp_body = c->respr.body;
				o->resp_wire = c->respr.body + c->respr.over;
			}
			ax_account_body(w, lvl, c, cold);
			if (ax_worth_telling(w, ctl))
				ax_tell_body(w, lvl, cold, sk);
		}
		c->resp.n++;
	}
	c->kind = AX_KIND_CLOSED;
}

AX_GLOBAL int ax_settle_ops(struct bpf_sock_ops *ops, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ops->sk;
	struct ax_cold *cold;
	struct ax_conn *c;

	if (!w || !sk)
		return -1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (c && cold)
		ax_settle_dead(w, lvl, sk, c, cold, AX_ERROR_RESET);
	return 0;
}

/* The last retransmission was in vain. */
static __always_inline void ax_given_up(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct ax_conn *c;

	if (!sk)
		return;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (c)
		c->seen[1] |= AX_SEEN_GIVEN_UP;
}

static __always_inline void ax_closed(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct ax_conn *c;
	struct ax_work *w;
	u32 lvl;

	if (!sk)
		return;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c)
		return;
	if (c->kind == AX_KIND_HTTP && c->req.n != c->resp.n) {
		w = ax_claim((u64)(long)ops, &lvl);
		if (!w)
			return;
		ax_settle_ops(ops, lvl);
		w->owner = 0;
	}
	c->kind = AX_KIND_CLOSED;	/* the socket may be connected again: see ax_reborn() */
}

AX_GLOBAL int ax_settle_sock(struct bpf_sock *sk, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_cold *cold;
	struct ax_conn *c;

	if (!w)
		return -1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (c && cold)
		ax_settle_dead(w, lvl, sk, c, cold,
			       sk->state == AX_TCP_CLOSE ? AX_ERROR_TIMEOUT : AX_ERROR_NO_RESPONSE);
	return 0;
}

/* The last descriptor is closed. Sockets older than the programs do not tell us of their end otherwise. What a server
 * has still to send it will send, so it is settled only if it is dead; a client will not read an answer any more. */
static __always_inline void ax_released(struct bpf_sock *sk)
{
	struct ax_conn *c;
	struct ax_work *w;
	u32 lvl;

	if (sk->protocol != AX_IPPROTO_TCP)
		return;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c || (sk->state != AX_TCP_CLOSE && !(c->role == AX_ROLE_CLIENT && (c->flags & AX_C_LOOSE))) || c->kind != AX_KIND_HTTP || c->req.n == c->resp.n)
		return;
	w = ax_claim((u64)(long)sk, &lvl);
	if (!w)
		return;
	ax_settle_sock(sk, lvl);
	w->owner = 0;
}

/* A socket may be connected again after its connection has died (connect(2), AF_UNSPEC): it begins anew. */
static __always_inline void ax_reborn(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct ax_conn *c;

	if (!sk)
		return;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c || c->kind != AX_KIND_CLOSED)
		return;
	bpf_sk_storage_delete(&ax_conns, sk);
	bpf_sk_storage_delete(&ax_cold, sk);
	bpf_sk_storage_delete(&ax_pipe, sk);
	bpf_sk_storage_delete(&ax_carry, sk);
	bpf_sk_storage_delete(&ax_ooo, sk);
}

#endif

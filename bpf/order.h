/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * order.h - from packets to a stream: what a hook sees is not yet what TCP accepts. Bytes are read
 * tentatively; what TCP discards (bad checksum, PAWS, out of window) is sent again and is then undone;
 * what comes too early is kept and read when the gap has closed (RFC 9293 section 3.10.7.4).
 */
#ifndef AX_ORDER_H
#define AX_ORDER_H

#include "checksum.h"
#include "framing.h"

#define AX_MOST_AHEAD (1U << 30)	/* the largest window there is (RFC 7323 section 2.3): what is farther ahead TCP discards */

enum ax_order_result {
	AX_O_READ = 0,		/* read from w->pos */
	AX_O_SKIP = 1,		/* nothing new */
	AX_O_LOST = 2,		/* bytes are missing for good */
};

/* Before a tentative segment that does not begin a message: keeps the state to go back to. */
AX_GLOBAL int ax_snapshot(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_carry *k;
	u32 dir;

	if (!w || !sk)
		return -1;
	k = bpf_sk_storage_get(&ax_carry, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!k)
		return -1;
	dir = w->dir & 1;
	k->snap[dir] = w->d;
	k->snap_ok[dir] = 1;
	k->snap_which[dir] = k->which[dir];
	k->snap_status[dir] = w->status;
	return 0;
}

/* Goes back to the state before w->seq, if it is known. 0, or -1. What was counted by then stays counted: responses,
 * and requests that were settled because the stream of responses has ended. */
AX_GLOBAL int ax_rewind(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_carry *k;
	struct ax_conn *c;
	u32 dir, n, seq;

	if (!w || !sk)
		return -1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c)
		return -1;
	seq = w->seq;
	n = w->d.h.n;
	if (w->d.snap_seq == seq && w->d.r.since < AX_SINCE_MANY) {
		/* the start of a message */
		w->d.h.nxt = seq;
		w->d.h.memo_len = 0;
		w->d.r.carry = 0;
		if (w->resp)
			w->d.r.method = w->d.r.since;
		else
			w->d.h.n -= w->d.r.since;
		w->d.r.since = 0;
		ax_next_message(w);
	} else {
		k = bpf_sk_storage_get(&ax_carry, sk, 0, 0);
		dir = w->dir & 1;
		if (!k || !k->snap_ok[dir] || k->snap[dir].h.nxt != seq ||
		    (w->resp && k->snap[dir].r.method + (n - k->snap[dir].h.n) >= AX_SINCE_MANY))
			return -1;
		w->d = k->snap[dir];
		k->which[dir] = k->snap_which[dir];
		if (w->resp) {
			w->status = k->snap_status[dir];
			w->d.r.method += n - w->d.h.n;
			w->d.h.n = n;
		}
	}
	if (!w->resp && (s32)(w->d.h.n - c->resp.n) < 0)
		w->d.h.n = c->resp.n;
	return 0;
}

/* Keeps one piece of an early segment. Its place is a function of its own: one LRU update, one copy. */
AX_GLOBAL int ax_stash_piece(struct __sk_buff *skb, u32 lvl, u32 at)
{
	struct ax_work *w = ax_area(lvl);
	u32 n;

	if (!w || (s32)at >= w->end)
		return -1;
	n = w->end - at;
	if (n > AX_CHUNK)
		n = AX_CHUNK;
	w->chunk.t = ax_now(w);
	w->chunk.len = n;
	w->chunk.more = w->end - at - n;
	w->ckey.seq = w->seq + at;
	AX_OPAQUE(n);
	n = AX_SIZE(n, AX_CHUNK);
	AX_OPAQUE(n);
	if (bpf_skb_load_bytes(skb, w->base + at, w->chunk.data, n)) {
		ax_count(AX_LOST_LOAD);
		return -1;
	}
	return bpf_map_update_elem(&ax_stash, &w->ckey, &w->chunk, BPF_ANY) ? -1 : 0;
}

/* Keeps the payload from `at` on, in pieces. 0, or -1. */
AX_GLOBAL int ax_stash_all(struct __sk_buff *skb, u32 lvl, u32 at)
{
	struct ax_work *w = ax_area(lvl);

	if (!w)
		return -1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_CHUNKS; i++) {
		if ((s32)at >= w->end)
			return 0;
		if (ax_stash_piece(skb, lvl, at))
			return -1;
		at += AX_CHUNK;
	}
	return (s32)at >= w->end ? 0 : -1;
}

static __always_inline void ax_stash_key(struct __sk_buff *skb, struct ax_work *w)
{
	w->ckey.hi = bpf_get_socket_cookie(skb);
	w->ckey.lo = w->dir;
	w->ckey.ports = 0;
	w->ckey.pad = 0;
}

/* Key of first data that meets a listener: the connection's addresses, from the child's or the packet's side. */
static __always_inline void ax_early_key(struct ax_work *w, const u8 *raddr, u32 rport, u32 lport)
{
	w->ckey.hi = *(u64 *)raddr;
	w->ckey.lo = *(u64 *)(raddr + 8);
	w->ckey.ports = (u64)rport << 32 | lport << 8 | 0x80;	/* never a cookie's key: those have ports 0 */
	w->ckey.pad = 0;
}

/* How many of the first bytes of an out-of-order segment need not be kept, because the run that it begins in has
 * them. A packet that comes again is kept again: TCP may have discarded it when it first came. */
AX_GLOBAL int ax_kept_before(u32 lvl, u32 had)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_chunk *k;
	u32 len;

	if (!w)
		return 0;
	len = w->end;
	if (had < len)
		return had;
	w->ckey.seq = w->seq;
	k = bpf_map_lookup_elem(&ax_stash, &w->ckey);
	return k && k->len + k->more == len ? 0 : len;
}

/* How much of what begins at `seq` the run has that it begins in or goes on from; -1: there is none. */
static __always_inline s32 ax_run_has(const struct ax_run *r, u32 seq, u32 kept)
{
	return r->len && !r->taken && r->kept == kept && seq - r->seq <= r->len ? (s32)(r->seq + r->len - seq) : -1;
}

/* Notes that early data is not kept. Its `early` stays: until the stream is past it, what comes may be late. */
static __always_inline void ax_leave_out(struct ax_ooo *o, u32 end)
{
	if (!o->full || (s32)(end - o->out) > 0)
		o->out = end;
	o->full = 1;
}

/* Puts a stretch among the early ones, its bytes being kept by now. If there is no room it goes in place of the one
 * farthest behind it, or is left out: what is left out is missed only if TCP takes it. */
static __always_inline void ax_enter(struct ax_conn *c, struct ax_ooo *o, u32 seq, u32 len, u32 kept, u32 fin)
{
	u32 at = AX_RUNS, room = AX_RUNS, far = AX_RUNS;
	struct ax_run *r;
	s32 farthest = 0;

	bpf_spin_lock(&o->lock);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_RUNS; i++) {
		r = &o->run[i];
		if (!r->len) {
			room = i;
		} else if (ax_run_has(r, seq, kept) >= 0) {
			at = i;
		} else if (!r->taken && (s32)(r->seq - seq) > farthest) {
			farthest = r->seq - seq;
			far = i;
		}
	}
	if (at < AX_RUNS) {
		r = &o->run[AX_INDEX(at, AX_RUNS)];
		if (seq + len - r->seq > r->len)
			r->len = seq + len - r->seq;
	} else {
		if (room >= AX_RUNS) {
			room = far;
			if (far < AX_RUNS)
				ax_leave_out(o, o->run[AX_INDEX(far, AX_RUNS)].seq + o->run[AX_INDEX(far, AX_RUNS)].len);
			else
				ax_leave_out(o, seq + len);
		}
		if (room < AX_RUNS) {
			r = &o->run[AX_INDEX(room, AX_RUNS)];
			r->seq = seq;
			r->len = len;
			r->kept = kept;
			r->taken = 0;
		}
	}
	if (fin) {
		o->fin = seq + len;
		o->fin_known = 1;
	}
	c->early = 1;
	bpf_spin_unlock(&o->lock);
}

/* What a run that was taken still has behind the place up to which it was read, can be taken again. */
AX_GLOBAL int ax_put_back(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_ooo *o;
	u32 seq, nxt;

	if (!w || !sk)
		return -1;
	o = bpf_sk_storage_get(&ax_ooo, sk, 0, 0);
	if (!o)
		return -1;
	seq = w->run_seq;
	nxt = w->d.h.nxt;
	if (nxt - seq >= w->run_len)
		return 0;
	bpf_spin_lock(&o->lock);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_RUNS; i++) {
		struct ax_run *r = &o->run[i];

		if (!r->taken || r->seq != seq)
			continue;
		r->len -= nxt - seq;
		r->seq = nxt;
		r->taken = 0;
	}
	bpf_spin_unlock(&o->lock);
	return 0;
}

/* An out-of-order segment: remembers its place, and its bytes unless they lie within a body of known length. */
AX_GLOBAL int ax_keep_early(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	u32 seq, len, kept, from = 0;
	struct ax_conn *c;
	struct ax_ooo *o;
	s32 has;

	if (!w || !sk)
		return -1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	o = bpf_sk_storage_get(&ax_ooo, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!c || !o)
		return -1;
	seq = w->seq;
	len = w->end;
	kept = !(w->d.h.phase == AX_PH_CLOSE || w->d.h.phase == AX_PH_DEAD ||
		 ((w->d.h.phase == AX_PH_BODY || w->d.h.phase == AX_PH_DATA) &&
		  w->d.r.left >= (u64)(seq - w->d.h.nxt) + len));
	if (kept && len) {
		ax_stash_key(skb, w);
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_RUNS; i++) {
			has = ax_run_has(&o->run[i], seq, 1);
			if (has > 0)
				from = has;
		}
		if (from) {
			from = ax_kept_before(lvl, from);
			if (!from && !ax_is_whole(skb, lvl))
				return 0;	/* in the place of what may be in TCP's own queue */
		}
		if (from > len)
			from = len;
		if (ax_stash_all(skb, lvl, from)) {
			bpf_spin_lock(&o->lock);
			ax_leave_out(o, seq + len);
			c->early = 1;
			bpf_spin_unlock(&o->lock);
			return 0;
		}
	}
	ax_enter(c, o, seq + from, len - from, kept, w->tcp_flags & AX_TCP_FIN);
	if (len)
		ax_count(AX_INFO_REORDERED);
	return 0;
}

/* Sets up the next stretch of the run at w->run_seq, w->run_len to be read: 1 from a kept piece, 0 if it is
 * (perhaps now) done with. */
AX_GLOBAL int ax_drain_next(u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_chunk *k;
	u32 at, off, len;
	u64 left;

	if (!w || w->kind > AX_KIND_HTTP)
		return 0;
	at = w->d.h.nxt - w->run_seq;
	if (at >= w->run_len)
		return 0;
	if (w->run_kept) {
		w->ckey.seq = w->drain_seq;
		k = bpf_map_lookup_elem(&ax_stash, &w->ckey);
		if (!k) {
			w->lose = AX_LOST_REORDER;
			w->kind = AX_KIND_SYNC;
			return 0;
		}
		len = k->len;
		off = w->d.h.nxt - w->drain_seq;
		if (!len || len > AX_CHUNK)
			return 0;
		w->seq = w->drain_seq;
		w->drain_seq += len;
		if (off < len) {
#pragma clang loop unroll(disable)
			for (u32 i = 0; i < AX_CHUNK / 8; i++)
				*(u64 *)(w->chunk.data + i * 8) = *(u64 *)(k->data + i * 8);
			if (!w->resp)	/* a response is there when its last gap is closed */
				w->now = k->t;
			w->from_chunk = 1;
			w->pos = off;
			w->end = len;
			w->d.h.nxt = w->drain_seq;
		} else {
			w->pos = w->end = 0;
		}
		bpf_map_delete_elem(&ax_stash, &w->ckey);
		return 1;
	}
	/* it lies within a body: its length is all that counts */
	len = w->run_len - at;
	left = w->d.r.left;
	if (w->d.h.phase != AX_PH_CLOSE && w->d.h.phase != AX_PH_DEAD) {
		if ((w->d.h.phase != AX_PH_BODY && w->d.h.phase != AX_PH_DATA) || !left) {
			w->lose = AX_LOST_REORDER;
			w->kind = AX_KIND_SYNC;
			return 0;
		}
		if (left < len)
			len = left;
	}
	w->seq = w->d.h.nxt;
	w->pos = 0;
	w->end = len;
	w->d.h.nxt += len;
	w->drain_seq = w->d.h.nxt;
	w->from_chunk = 1;
	return 1;
}

/* Takes the run of kept data that the stream has reached; runs that are past are forgotten. 1, or 0 if none. Whoever
 * takes it reads it: nobody else's packet begins where the stream stands. */
AX_GLOBAL int ax_drain_choose(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	u32 nxt, seq = 0, len = 0, kept = 0;
	int found = 0, left = 0, fin = 0;
	struct ax_conn *c;
	struct ax_ooo *o;

	if (!w || !sk)
		return 0;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	o = bpf_sk_storage_get(&ax_ooo, sk, 0, 0);
	if (!c || !o)
		return 0;
	ax_stash_key(skb, w);
	bpf_spin_lock(&o->lock);
	nxt = w->resp ? c->resp.nxt : c->req.nxt;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_RUNS; i++) {
		struct ax_run *r = &o->run[i];
		s32 at;

		if (!r->len)
			continue;
		at = nxt - r->seq;
		if (at >= 0 && (u32)at >= r->len) {
			r->len = 0;
		} else if (at >= 0 && !found && !r->taken) {
			found = 1;
			seq = r->seq;
			len = r->len;
			kept = r->kept;
			r->taken = 1;
			left = 1;
		} else {
			left = 1;
		}
	}
	if (!found && o->fin_known) {
		fin = nxt == o->fin;
		left |= (s32)(o->fin - nxt) > 0;
	}
	if (o->full && (s32)(nxt - o->out) >= 0)
		o->full = 0;
	if (!left && !o->full)
		c->early = 0;
	bpf_spin_unlock(&o->lock);
	w->fin |= fin;
	w->run_seq = w->drain_seq = seq;
	w->run_len = len;
	w->run_kept = kept;
	return found;
}

/* Has TCP had all of this segment before, though we have not? Then it was among what was not kept, and answers may have
 * left since that would be taken for its own. */
AX_GLOBAL int ax_is_late(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct bpf_tcp_sock *tp;

	if (!w || !sk || !ax_left_out(sk, w->seq))
		return 0;
	tp = bpf_tcp_sock(sk);
	return tp && (s32)(w->seq + w->end - AX_READ(tp->rcv_nxt)) <= 0;
}

/* Where an arriving segment stands against what has been read. enum ax_order_result. */
AX_GLOBAL int ax_arrange(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct bpf_tcp_sock *tp;
	u32 rcv_nxt, seq, nxt, gap;
	struct ax_conn *c;
	int again, moved;
	s32 delta;

	if (!w || !sk)
		return AX_O_SKIP;
	seq = w->seq;
	nxt = w->d.h.nxt;
	delta = seq - nxt;
	if (w->dir) {
		/* our own side sends every byte once, and then again as it was */
		if (delta > 0)
			return AX_O_LOST;
		if (-delta >= w->end)
			return AX_O_SKIP;
		w->pos = -delta;
		return AX_O_READ;
	}
	tp = bpf_tcp_sock(sk);
	if (!tp)
		return AX_O_SKIP;
	rcv_nxt = tp->rcv_nxt;
	if (delta < 0) {
		if ((s32)(seq + w->end - rcv_nxt) <= 0)
			return AX_O_SKIP;	/* accepted long ago */
		/* Has what we have read not been accepted, and comes again? Of a body only the length counts. */
		again = (s32)(rcv_nxt - nxt) < 0 && w->d.h.phase != AX_PH_CLOSE &&
			(w->d.h.phase != AX_PH_BODY || w->d.r.body < (u64)-delta);
		/* Perhaps what we have read only waits for its process, and this is a damaged copy. */
		if (again && !ax_is_whole(skb, lvl))
			return AX_O_SKIP;
		if (again && !ax_rewind(skb, lvl)) {
			ax_count(AX_INFO_REWOUND);
			c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
			if (c && (s32)(nxt - (seq + w->end)) > 0) {
				/* more had been read behind it, which may not come again */
				c->doubt = AX_LOST_TENTATIVE;
				c->doubt_kind = AX_KIND_SYNC;
			}
			w->pos = 0;
			return AX_O_READ;
		}
		if (again && w->d.h.phase != AX_PH_BODY)
			ax_count(AX_LOST_TENTATIVE);
		if (-delta >= w->end)
			return AX_O_SKIP;
		w->pos = -delta;
		return AX_O_READ;
	}
	/* a gap: so it was when we looked, but a run on another core may have closed it since, and TCP taken that */
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c)
		return AX_O_SKIP;
	if (rcv_nxt == nxt + 1 && c->seen[0] & AX_SEEN_FIN)
		return AX_O_SKIP;	/* nothing comes behind the stream's end */
	if (seq - rcv_nxt > AX_MOST_AHEAD)
		return AX_O_SKIP;
	moved = AX_READ(w->resp ? c->resp.nxt : c->req.nxt) != nxt;
	if (!moved && (s32)(rcv_nxt - nxt) > 0 && !(c->early && ax_run_waits(sk, nxt))) {
		/* TCP has taken bytes that no hook showed; if they lie within a body that is no loss */
		if (ax_left_out(sk, nxt))
			w->lose = AX_LOST_REORDER;
		gap = delta;
		if (w->d.h.phase == AX_PH_CLOSE || w->d.h.phase == AX_PH_DEAD ||
		    ((w->d.h.phase == AX_PH_BODY || w->d.h.phase == AX_PH_DATA) && w->d.r.left > gap)) {
			if (w->d.h.phase != AX_PH_CLOSE)
				w->d.r.left -= gap;
			w->d.r.body += gap;
			w->d.h.nxt = seq;
			return AX_O_READ;
		}
		return AX_O_LOST;
	}
	ax_keep_early(skb, lvl);	/* what cannot be kept is missed when TCP has taken it */
	return AX_O_SKIP;
}

#endif

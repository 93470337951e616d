/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * framing.h - the machine: head, body, head (RFC 9112 section 6.3), and the pairing of requests with responses.
 * ax_step() looks at one line or one stretch of body; the hooks call it until the packet is used up.
 */
#ifndef AX_FRAMING_H
#define AX_FRAMING_H

#include "flow.h"
#include "head.h"
#include "series.h"

/* What a step found. What has to be done about it is done by its caller, ax_read_on(): the verifier allows eight
 * frames, and a request line needs five of them to become a route. */
enum ax_step_result {
	AX_S_GO = 0,		/* made progress, there may be more */
	AX_S_DONE,		/* this packet is used up */
	AX_S_START,		/* a start line stands at win[line_from..line_to) */
	AX_S_FIELD,		/* a header field line does */
	AX_S_HEAD,		/* the end of a head */
	AX_S_MESSAGE,		/* the end of a message */
};

/* Request number `k`, and when it began: inline, in the queue, or not known (0). */
static __always_inline struct ax_q *ax_number(struct bpf_sock *sk, struct ax_conn *c, u32 k, u64 *t0)
{
	struct ax_queued *e;
	struct ax_pipe *p;

	if (c->req.n == k)
		return 0;
	if (c->q0_no == k) {
		*t0 = c->t0;
		return &c->q0;
	}
	p = bpf_sk_storage_get(&ax_pipe, sk, 0, 0);
	if (!p)
		return 0;
	e = &p->q[k & (AX_QUEUE - 1)];
	if (e->no != k)
		return 0;
	*t0 = e->t0;
	return &e->q;
}

/* Fills w->done for the oldest request. 0, or -1 if it is not known. */
static __always_inline int ax_finish(struct ax_work *w, struct bpf_sock *sk, struct ax_conn *c, u64 end)
{
	u64 t0 = 0;
	struct ax_q *q = ax_number(sk, c, c->resp.n, &t0);
	struct ax_done *o = &w->done;

	if (!q)
		return -1;
	o->t0 = t0;
	o->duration = ax_since(t0, end);
	o->route = q->route;
	o->method = q->method;
	o->version = !(q->flags & AX_Q_HTTP10);
	o->q_flags = q->flags;
	o->number = c->resp.n;
	o->req_body = q->body;
	o->req_wire = q->over;
	if (!(q->flags & AX_Q_DONE)) {
		/* an early response: what has come of the request so far */
		o->req_body = c->reqr.body;
		o->req_wire = c->reqr.over;
	}
	o->req_wire += o->req_body;
	return 0;
}

/* A request's head is complete: queue it. 1 if others were waiting before it. */
AX_GLOBAL int ax_push(struct __sk_buff *skb, u32 lvl, u32 done)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_queued *e;
	struct ax_pipe *p;
	struct ax_conn *c;
	struct ax_q *q;
	u32 n, waiting;

	if (!w || !sk)
		return 1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c)
		return 1;
	n = w->d.h.n;
	waiting = n - c->resp.n;
	w->d.h.n = n + 1;
	if (w->d.r.since < AX_SINCE_MANY)
		w->d.r.since++;
	w->d.h.memo_len = 0;
	if (!waiting) {
		q = &c->q0;
		c->q0_no = n;
		c->t0 = w->d.r.t0;
	} else {
		if (waiting >= AX_QUEUE) {
			ax_count(AX_LOST_PIPELINE);
			return 1;
		}
		p = bpf_sk_storage_get(&ax_pipe, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!p) {
			ax_count(AX_LOST_MEMORY);
			return 1;
		}
		e = &p->q[n & (AX_QUEUE - 1)];
		e->no = n;
		e->t0 = w->d.r.t0;
		q = &e->q;
	}
	q->route = w->d.r.route;
	q->body = 0;
	q->over = w->d.r.over;
	q->method = w->d.r.method;
	q->flags = (done ? AX_Q_DONE : 0) | (w->d.h.flags & AX_D_HTTP10 ? AX_Q_HTTP10 : 0) |
		   (!waiting && w->d.h.flags & AX_D_TEXT ? AX_Q_TEXT : 0);
	return !!waiting;
}

/* The last request's body is complete. */
AX_GLOBAL int ax_request_done(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_conn *c;
	struct ax_pipe *p;
	struct ax_q *q;
	u32 n;

	if (!w || !sk)
		return -1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c)
		return -1;
	n = w->d.h.n - 1;
	q = &c->q0;
	if (c->q0_no != n) {
		p = bpf_sk_storage_get(&ax_pipe, sk, 0, 0);
		if (!p || p->q[n & (AX_QUEUE - 1)].no != n)
			return 0;
		q = &p->q[n & (AX_QUEUE - 1)].q;
	}
	q->body = w->d.r.body;
	q->over = w->d.r.over;
	q->flags |= AX_Q_DONE;
	return 0;
}

/* Has the stream reached a run that nobody has read yet, or that somebody is reading? */
static __always_inline int ax_run_waits(struct bpf_sock *sk, u32 nxt)
{
	struct ax_ooo *o = bpf_sk_storage_get(&ax_ooo, sk, 0, 0);

	if (!o)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_RUNS; i++) {
		if (o->run[i].len && nxt - o->run[i].seq < o->run[i].len)
			return 1;
	}
	return 0;
}

/* Is there early data that was not kept, ahead of where the stream stands? */
static __always_inline int ax_left_out(struct bpf_sock *sk, u32 nxt)
{
	struct ax_ooo *o = bpf_sk_storage_get(&ax_ooo, sk, 0, 0);

	return o && o->full && (s32)(o->out - nxt) > 0;
}

/* Before the answer to a request that is not complete leaves: how many bytes of its body TCP has taken that no hook showed
 * (nothing behind them may ever come to tell of them). -1: there are some, and it is not known what they were. */
AX_GLOBAL int ax_unseen(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct bpf_tcp_sock *tp;
	struct ax_conn *c;
	u32 taken, nxt;
	u64 left;
	s32 gap;

	if (!w || !sk)
		return 0;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c || c->req.n - c->resp.n != 1 || c->req.phase < AX_PH_CHUNK || c->req.phase == AX_PH_DEAD)
		return 0;
	tp = bpf_tcp_sock(sk);
	if (!tp)
		return 0;
	/* first: what TCP takes has been read before, so a packet that comes beside us leaves no gap */
	taken = AX_READ(tp->rcv_nxt);
	ax_barrier();
	nxt = AX_READ(c->req.nxt);
	gap = taken - nxt;
	/* a FIN has a number too: those that have taken one are the states behind it */
	if (sk->state > AX_TCP_CLOSE || (gap == 1 && c->seen[0] & AX_SEEN_FIN))
		gap--;
	if (gap <= 0)
		return 0;
	left = c->reqr.left;
	if (c->req.phase == AX_PH_BODY)
		return left < (u64)gap ? (s32)left : gap;
	if (c->req.phase == AX_PH_DATA && left >= (u64)gap)
		return gap;
	if (c->early && ax_run_waits(sk, nxt))
		return 0;
	w->lose = ax_left_out(sk, nxt) ? AX_LOST_REORDER : AX_LOST_GAP;
	return -1;
}

/* The response is complete (or, with `error`, will never be): count the oldest request, and forget it. */
AX_GLOBAL int ax_response_done(struct __sk_buff *skb, u32 lvl, u32 error)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_ctl *ctl = ax_control();
	struct ax_cold *cold;
	struct ax_conn *c;
	s32 unseen = 0;
	u32 status;
	u64 now;

	if (!w || !sk || !ctl)
		return -1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (!c || !cold)
		return -1;
	if (w->d.r.since < AX_SINCE_MANY)
		w->d.r.since++;
	if (w->d.r.method) {
		w->d.r.method--;
		return 0;
	}
	if (c->req.n == c->resp.n) {
		if (c->req.phase == AX_PH_FIELDS || c->reqr.carry) {
			/* an answer before its request's head was complete: the two cannot be paired any more */
			w->lose = AX_LOST_ORPHAN;
			w->kind = AX_KIND_SYNC;
			return 0;
		}
		ax_count(AX_LOST_ORPHAN);
		return 0;
	}
	if (w->dir && c->req.phase != AX_PH_START)
		unseen = ax_unseen(skb, lvl);
	if (unseen < 0) {
		w->kind = AX_KIND_SYNC;
		return 0;
	}
	now = ax_now(w);
	status = w->status;
	if (!ax_finish(w, sk, c, now)) {
		w->done.req_body += unseen;
		w->done.req_wire += unseen;
		w->done.status = status;
		w->done.error = error;
		w->done.ttfb = status ? ax_since(w->done.t0, w->d.r.t0) : 0;
		w->done.resp_body = status ? w->d.r.body : 0;
		w->done.resp_wire = status ? w->d.r.body + w->d.r.over : 0;
		ax_account_body(w, lvl, c, cold);
		if (ax_worth_telling(w, ctl))
			ax_tell_body(w, lvl, cold, sk);
	}
	c->resp.n++;
	w->d.h.n = c->resp.n;
	return 0;
}

/* Method of the request that this response answers, or -1. One that is read again was counted before. */
AX_GLOBAL int ax_asked(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_conn *c;
	struct ax_q *q;
	u64 t0;

	if (!w || !sk)
		return -1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (!c)
		return -1;
	q = ax_number(sk, c, c->resp.n - w->d.r.method, &t0);
	return q ? q->method : -1;
}

/* The head that has just ended lies whole at the window's beginning, which is the packet's: if the next one
 * on the connection has the same signature, it need not be parsed. */
AX_GLOBAL int ax_remember(u32 lvl, u64 key)
{
	struct ax_work *w = ax_area(lvl);
	u32 n;

	if (!w)
		return -1;
	n = w->pos;
	w->d.h.memo_len = 0;
	if (w->wbase || n > w->wlen || n != w->d.r.over || w->from_chunk)
		return 0;
	w->d.memo = ax_sign(lvl, n, key);
	w->d.h.memo_len = n;
	return 0;
}

/* Requests are signed with the serial number of the route table as well: another table, another route. */
static __always_inline u64 ax_request_key(const struct ax_ctl *ctl, u32 serial)
{
	return ctl->secret ^ (u64)serial * 0x9fb21c651e98df25ULL;
}

static __always_inline void ax_next_message(struct ax_work *w)
{
	w->d.h.phase = AX_PH_START;
	w->d.h.flags = 0;
	w->d.r.over = 0;
	w->d.r.body = 0;
	w->d.r.left = 0;
}

/* The empty line behind a head: what follows it (RFC 9112 section 6.3). */
AX_GLOBAL int ax_head_end(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_ctl *ctl = ax_control();
	u32 status, waiting;
	u8 flags;
	int asked, none;

	if (!w || !ctl)
		return AX_S_DONE;
	flags = w->d.h.flags;
	if (!w->resp) {
		/* rule 6: without either field a request has no body; a coding that is not chunked cannot end */
		if ((flags & AX_D_CODED) && !(flags & AX_D_CHUNKED))
			return ax_bad_length(w);
		none = !(flags & AX_D_CHUNKED) && !w->d.r.left;
		waiting = ax_push(skb, lvl, none);
		if (none && !waiting && !w->path_cut)
			ax_remember(lvl, ax_request_key(ctl, w->serial));
		w->d.r.body = 0;
		if (none)
			ax_next_message(w);
		else
			w->d.h.phase = flags & AX_D_CHUNKED ? AX_PH_CHUNK : AX_PH_BODY;
		return AX_S_GO;
	}
	status = w->status;
	asked = ax_asked(skb, lvl);
	if (status < 200 && status != 101) {	/* interim: the answer is still to come */
		ax_next_message(w);
		return AX_S_GO;
	}
	w->d.r.body = 0;
	w->d.h.memo_len = 0;
	if (status == 101 || (asked == AX_METHOD_CONNECT && status < 300)) {
		w->d.r.left = 0;
		ax_response_done(skb, lvl, 0);
		if (w->kind == AX_KIND_SYNC)
			ax_count(w->lose);
		ax_count(AX_CONN_UPGRADED);
		w->kind = AX_KIND_UPGRADED;
		return AX_S_DONE;
	}
	none = asked == AX_METHOD_HEAD || status == 204 || status == 304;
	if (!none && !(flags & AX_D_CODED) && (flags & AX_D_LENGTH) && !w->d.r.left)
		none = 1;
	if (asked != AX_METHOD_HEAD && asked != AX_METHOD_CONNECT && !(flags & AX_D_CODED) && (flags & AX_D_LENGTH) &&
	    (!none || !w->d.r.left)) {
		ax_remember(lvl, ctl->secret);
		w->memo_left = w->d.r.left;
		w->memo_status = status;
	}
	if (none) {
		w->d.r.left = 0;
		ax_response_done(skb, lvl, 0);
		ax_next_message(w);
		return AX_S_GO;
	}
	if (flags & AX_D_CHUNKED)
		w->d.h.phase = AX_PH_CHUNK;
	else if ((flags & AX_D_LENGTH) && !(flags & AX_D_CODED))
		w->d.h.phase = AX_PH_BODY;
	else
		w->d.h.phase = AX_PH_CLOSE;
	return AX_S_GO;
}

/* A body's bytes are counted, never read: as many as there are. */
static __always_inline int ax_pass_over(struct ax_work *w)
{
	u64 n = w->end - w->pos;

	if (w->d.h.phase != AX_PH_CLOSE) {
		if (n > w->d.r.left)
			n = w->d.r.left;
		w->d.r.left -= n;
	}
	w->d.r.body += n;
	w->pos += n;
	return n > 0;
}

/* The body has ended. */
AX_GLOBAL int ax_message_end(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);

	if (!w)
		return -1;
	if (w->resp)
		ax_response_done(skb, lvl, 0);
	else
		ax_request_done(skb, lvl);
	ax_next_message(w);
	return 0;
}

/* A start line that is not HTTP/1: what the connection is then. */
static __always_inline int ax_not_http(struct ax_work *w, int how)
{
	if (how == AX_L_HTTP2 && w->kind == AX_KIND_NEW) {
		w->why = AX_CONN_HTTP2;
		w->kind = AX_KIND_HTTP2;
		return AX_S_DONE;
	}
	if (how == AX_L_LOST)
		return ax_give_up(w, AX_LOST_MEMORY);
	if (w->loose && w->kind == AX_KIND_NEW) {
		w->kind = AX_KIND_SYNC;
		return AX_S_DONE;
	}
	if (w->kind == AX_KIND_NEW) {
		w->why = AX_CONN_OTHER;
		w->kind = AX_KIND_OPAQUE;
		return AX_S_DONE;
	}
	return w->resp ? ax_give_up(w, AX_LOST_BAD_RESPONSE) : ax_end_requests(w, AX_LOST_BAD_REQUEST);
}

/* The start line that a step has found. */
static __always_inline int ax_start(struct __sk_buff *skb, u32 lvl, struct ax_work *w)
{
	struct ax_conn *c;
	u32 waiting, cut = !!w->cut;
	int r;

	if (w->resp) {
		r = ax_status_line(lvl, w->line_from, w->line_to);
		if (r && (w->d.h.flags & AX_D_ANY))
			return AX_S_DONE;	/* the tail of a response that began before we came */
	} else {
		c = ax_conn_of(skb);
		if (!c)
			return AX_S_DONE;
		waiting = w->d.h.n - c->resp.n;
		r = ax_request_line(skb, lvl, w->line_from, w->line_to, (waiting ? 2 : 0) | cut);
	}
	if (r)
		return ax_not_http(w, r);
	w->d.h.flags &= ~AX_D_ANY;
	if (cut) {
		w->d.h.flags |= AX_D_LONG;
		if (!w->resp)
			return AX_S_GO;	/* its version is still to come */
	}
	w->kind = AX_KIND_HTTP;
	w->d.h.phase = AX_PH_FIELDS;
	return AX_S_GO;
}

/* The line win[from..lf) is complete: what it is. */
static __always_inline int ax_take(u32 lvl, struct ax_work *w, u32 from, u32 lf)
{
	u32 to = lf;

	if (to > from && w->win[AX_INDEX(to - 1, AX_WINDOW)] == '\r')
		to--;
	w->d.r.over += lf + 1 - from;
	w->line_from = from;
	w->line_to = to;
	w->cut = 0;
	if (w->d.h.flags & AX_D_LONG) {
		w->d.h.flags &= ~AX_D_LONG;
		if (w->d.h.phase == AX_PH_START) {
			if (ax_version_at(lvl, to))
				return ax_not_http(w, AX_L_BAD);
			w->kind = AX_KIND_HTTP;
			w->d.h.phase = AX_PH_FIELDS;
		} else if (w->d.h.phase == AX_PH_CHUNK) {
			w->d.h.phase = w->d.r.left ? AX_PH_DATA : AX_PH_TRAILER;
		}
		return AX_S_GO;
	}
	switch (w->d.h.phase) {
	case AX_PH_START:
		if (to != from || w->resp)
			return AX_S_START;
		w->d.r.over = 0;	/* RFC 9112 section 2.2: empty lines before a request line */
		return AX_S_GO;
	case AX_PH_FIELDS:
		return to == from ? AX_S_HEAD : AX_S_FIELD;
	case AX_PH_CHUNK:
		if (ax_chunk_size(lvl, from, to))
			return ax_give_up(w, AX_LOST_BAD_CHUNK);
		w->d.h.phase = w->d.r.left ? AX_PH_DATA : AX_PH_TRAILER;
		return AX_S_GO;
	case AX_PH_CHUNK_END:
		if (to != from)
			return ax_give_up(w, AX_LOST_BAD_CHUNK);
		w->d.h.phase = AX_PH_CHUNK;
		return AX_S_GO;
	case AX_PH_TRAILER:
		return to == from ? AX_S_MESSAGE : AX_S_GO;
	}
	return AX_S_DONE;
}

/* A line fills the window without an end: read what its beginning says, then wait for its end. */
static __always_inline int ax_take_long(u32 lvl, struct ax_work *w)
{
	w->cut = 1;
	if (w->d.h.flags & AX_D_LONG)
		return AX_S_GO;
	w->line_from = 0;
	w->line_to = AX_WINDOW;
	switch (w->d.h.phase) {
	case AX_PH_START:
		return AX_S_START;
	case AX_PH_FIELDS:
		return AX_S_FIELD;
	case AX_PH_CHUNK:
		if (ax_chunk_size(lvl, 0, AX_WINDOW))
			return ax_give_up(w, AX_LOST_BAD_CHUNK);
		break;
	case AX_PH_CHUNK_END:
		return ax_give_up(w, AX_LOST_BAD_CHUNK);
	}
	w->d.h.flags |= AX_D_LONG;
	return AX_S_GO;
}

/* Keeps the beginning of a line whose end has not come yet. */
AX_GLOBAL int ax_keep_line(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_carry *k;
	u32 n, dir, have, which;

	if (!w || !sk)
		return -1;
	k = bpf_sk_storage_get(&ax_carry, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	n = w->end - w->pos;
	have = n;
	if (!k || have > AX_WINDOW) {
		ax_give_up(w, AX_LOST_MEMORY);
		return -1;
	}
	dir = w->dir & 1;
	which = !k->snap_which[dir];
	k->which[dir] = which;
	which = AX_INDEX(dir * 2 + which, 4);
	/* the line stands in the window from its beginning: whole words of it */
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW / 8; i++) {
		if (i * 8 >= have)
			break;
		*(u64 *)(k->line[which] + i * 8) = *(u64 *)(w->win + i * 8);
	}
	w->d.r.carry = have;
	w->pos = w->end;
	return 0;
}

/* Puts the kept beginning of a line back in front of the packet's bytes. */
AX_GLOBAL int ax_resume_line(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_carry *k;
	u32 have, dir, room, which;

	if (!w || !sk)
		return -1;
	k = bpf_sk_storage_get(&ax_carry, sk, 0, 0);
	have = w->d.r.carry;
	if (!k || have >= AX_WINDOW) {
		ax_give_up(w, AX_LOST_MEMORY);
		return -1;
	}
	dir = w->dir & 1;
	which = AX_INDEX(dir * 2 + (k->which[dir] & 1), 4);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW / 8; i++) {
		if (i * 8 >= have)
			break;
		*(u64 *)(w->win + i * 8) = *(u64 *)(k->line[which] + i * 8);
	}
	room = AX_WINDOW - have;
	if (room > (u32)(w->end - w->pos))
		room = w->end - w->pos;
	if (ax_load(skb, lvl, w->pos, have, room))
		return -1;
	w->wbase = w->pos - (s32)have;
	w->wlen = have + room;
	w->pos = w->wbase;
	w->d.r.carry = 0;
	return 0;
}

/* Goes on in a long line with its last bytes in sight: a version may be split over them. */
AX_GLOBAL int ax_move_on(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	s32 at, len;

	if (!w)
		return -1;
	w->cut = 0;
	w->d.r.over += AX_WINDOW - AX_TAIL;
	w->pos += AX_WINDOW - AX_TAIL;
	if (w->pos >= 0)
		return 0;
	/* some of them came with earlier packets */
	*(u64 *)w->win = *(u64 *)(w->win + AX_WINDOW - AX_TAIL);
	*(u64 *)(w->win + 8) = *(u64 *)(w->win + AX_WINDOW - AX_TAIL + 8);
	w->wbase = w->pos;
	w->wlen = AX_TAIL;
	at = w->pos + AX_TAIL;
	len = w->end - at;
	if (len <= 0)
		return 0;
	if (len > AX_WINDOW - AX_TAIL)
		len = AX_WINDOW - AX_TAIL;
	if (ax_load(skb, lvl, at, AX_TAIL, len))
		return -1;
	w->wlen = AX_TAIL + len;
	return 0;
}

/* One step by lines. */
static __always_inline int ax_line(struct __sk_buff *skb, u32 lvl, struct ax_work *w)
{
	u32 at, len;
	int lf;

	if (w->cut && ax_move_on(skb, lvl))
		goto broken;
	if (w->d.r.carry) {
		if (ax_resume_line(skb, lvl))
			return AX_S_DONE;
	} else if (w->pos < w->wbase || w->pos >= w->wbase + (s32)w->wlen) {
		if (ax_fill(skb, lvl, w))
			goto broken;
	}
	at = w->pos - w->wbase;
	len = w->wlen;
	if (at >= AX_WINDOW || len > AX_WINDOW)
		return AX_S_DONE;
	if (w->d.h.phase == AX_PH_START && !(w->d.h.flags & AX_D_LONG) && w->pos >= 0)
		w->d.r.t0 = ax_now(w);	/* otherwise an earlier packet brought its first byte */
	if (w->d.h.phase == AX_PH_FIELDS && !(w->d.h.flags & (AX_D_LONG | AX_D_FRAMED))) {
		lf = ax_skim(lvl, at);
		if (lf < 0 || lf > AX_WINDOW)
			return AX_S_DONE;
		w->d.r.over += lf - at;
		w->pos += lf - at;
		at = lf;
		if (at >= len)
			return w->pos >= w->end ? AX_S_DONE : AX_S_GO;
	}
	lf = ax_find_lf(lvl, at);
	if (lf >= 0) {
		if (lf >= AX_WINDOW)
			return AX_S_DONE;
		w->pos += lf + 1 - at;
		return ax_take(lvl, w, at, lf);
	}
	if (at) {
		/* begin the window with this line: it may fit then */
		if (w->pos < 0 || ax_fill(skb, lvl, w))
			goto broken;
		if (w->wlen != len - at)
			return AX_S_GO;
	} else if (len == AX_WINDOW) {
		return ax_take_long(lvl, w);
	}
	ax_keep_line(skb, lvl);
	return AX_S_DONE;
broken:
	w->kind = AX_KIND_BROKEN;
	return AX_S_DONE;
}

/* One line, or one stretch of body. enum ax_step_result. */
AX_GLOBAL int ax_step(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);

	if (!w || w->pos >= w->end || w->kind == AX_KIND_SYNC)	/* the stream is lost from here on */
		return AX_S_DONE;
	switch (w->d.h.phase) {
	case AX_PH_BODY:
		ax_pass_over(w);
		return w->d.r.left ? AX_S_DONE : AX_S_MESSAGE;
	case AX_PH_DATA:
		ax_pass_over(w);
		if (!w->d.r.left)
			w->d.h.phase = AX_PH_CHUNK_END;
		return AX_S_GO;
	case AX_PH_CLOSE:
		ax_pass_over(w);
		return AX_S_DONE;
	case AX_PH_DEAD:
		return AX_S_DONE;
	}
	return ax_line(skb, lvl, w);
}

/* Goes on reading this packet (or kept piece). 1 if there is more than could be looked at. */
AX_GLOBAL int ax_read_on(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	int r;

	if (!w)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_STEPS; i++) {
		r = ax_step(skb, lvl);
		if (r == AX_S_START)
			r = ax_start(skb, lvl, w);
		else if (r == AX_S_FIELD)
			r = ax_field(skb, lvl);
		else if (r == AX_S_HEAD)
			r = ax_head_end(skb, lvl);
		else if (r == AX_S_MESSAGE)
			r = ax_message_end(skb, lvl);
		if (r)
			return 0;
	}
	return w->pos < w->end;
}

/* Reads everything of this packet (or kept piece) that is left. Most need one round; the loop is not part of the
 * function above because the verifier walks through every turn of a loop. */
static __always_inline void ax_read(struct __sk_buff *skb, u32 lvl, struct ax_work *w, u32 rounds)
{
	w->wlen = 0;
	w->cut = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < rounds; i++) {
		if (!ax_read_on(skb, lvl))
			return;
	}
	ax_give_up(w, AX_LOST_LONG_PACKET);
}

#endif

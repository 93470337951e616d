/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* packet.h - one packet of one socket: headers, the short way for what repeats itself, the long way for the rest. */
#ifndef AX_PACKET_H
#define AX_PACKET_H

#include "guard.h"
#include "order.h"

/* What the long way has to know of the packet. */
struct ax_seg {
	u32 seq;
	u32 base;
	u32 len;
	u8 flags;
};

/* RFC 8446 section 5.1: the record of a handshake. */
static __always_inline int ax_is_tls(const u8 *bytes)
{
	return bytes[0] == 0x16 && bytes[1] == 3;
}

/* The longest record (RFC 5246 section 6.2.3; TLS 1.3 allows less). */
#define AX_TLS_RECORD (16384 + 2048)

/* Any record, of those that an older connection may begin a turn with (RFC 8446 section 5.1, for all versions): what
 * HTTP says does not begin with a byte below 0x20, and the rest of a body that looks like this is one in millions. */
static __always_inline int ax_is_tls_record(const u8 *bytes)
{
	u32 len = bytes[3] << 8 | bytes[4];

	return (bytes[0] & 0xfc) == 0x14 && bytes[1] == 3 && bytes[2] >= 1 && bytes[2] <= 4 && len && len <= AX_TLS_RECORD;
}

/* A connection we have not met: fresh, or older than us, or born with data that met its listener. Another core may meet
 * it beside us: its state appears whole, and the one that comes second finds it there. */
AX_GLOBAL int ax_meet(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct bpf_tcp_sock *tp;
	struct ax_chunk *early;
	struct ax_conn *c;
	u8 addr[16] __attribute__((aligned(8)));
	u32 first, rcv_nxt, snd_nxt, unacked;
	u64 received, acked;
	int adopt = 0;

	if (!w || !sk)
		return -1;
	tp = bpf_tcp_sock(sk);
	if (!tp)
		return -1;
	rcv_nxt = AX_READ(tp->rcv_nxt);
	snd_nxt = AX_READ(tp->snd_nxt);
	received = AX_READ(tp->bytes_received);
	acked = AX_READ(tp->bytes_acked);
	/* sent by us before this packet, and not known to have arrived */
	unacked = (w->dir ? w->seq : snd_nxt) - AX_READ(tp->snd_una);
	c = &w->fresh;
	__builtin_memset(c, 0, sizeof(*c));
	c->role = w->dir;
	c->req.nxt = w->seq;
	c->resp.nxt = w->dir ? rcv_nxt : snd_nxt;
	if (w->tcp_flags & AX_TCP_SYN) {
		c->resp.flags = AX_D_ANY;
		unacked = 0;
	} else if (!w->dir && !received) {
		c->req.nxt = rcv_nxt;	/* the packet may come before its turn */
	}
	if (received || acked > 1 || unacked) {
		c->kind = AX_KIND_SYNC;
		c->flags = AX_C_LOOSE;
	}
	if (received && acked <= 1) {
		/* is it a child whose first data met the listener? */
		first = rcv_nxt - (u32)received;
		ax_remote(sk, addr);
		ax_early_key(w, addr, bpf_ntohs((u16)sk->dst_port), sk->src_port);
		w->ckey.seq = first;
		early = bpf_map_lookup_elem(&ax_stash, &w->ckey);
		if (early && ax_is_tls(early->data)) {
			c->kind = AX_KIND_TLS;
			ax_count(AX_CONN_TLS);
		} else if (early) {
			c->kind = AX_KIND_NEW;
			c->flags = 0;
			c->role = AX_ROLE_SERVER;
			c->req.nxt = first;
			c->resp.nxt = w->dir ? w->seq : snd_nxt;
			w->drain_seq = first;
			adopt = received < 0x7fffffff ? received : 0;
		}
	}
	if (bpf_sk_storage_get(&ax_conns, sk, 0, 0))
		return 0;
	if (!bpf_sk_storage_get(&ax_conns, sk, c, BPF_SK_STORAGE_GET_F_CREATE)) {
		if (bpf_sk_storage_get(&ax_conns, sk, 0, 0))	/* another core was faster */
			return 0;
		ax_count(AX_LOST_MEMORY);
		return -1;
	}
	return adopt;
}

/* Reads the next piece of the run at w->run_seq. 0 if there is none that goes on where the stream stands. */
AX_GLOBAL int ax_drain_piece(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);

	if (!w || !ax_drain_next(lvl))
		return 0;
	ax_read(skb, lvl, w, AX_ROUNDS);
	return 1;
}

/* Reads the run of kept data at w->run_seq, as far as it goes on where the stream stands. */
static __always_inline void ax_drain_run(struct __sk_buff *skb, u32 lvl, struct ax_work *w)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < 4 * AX_CHUNKS; i++) {
		if (!ax_drain_piece(skb, lvl))
			break;
	}
	w->from_chunk = 0;
	w->now = 0;
}

/* Notes where the stream stands, to go back to if TCP discards what is read next: `len` bytes. */
static __always_inline void ax_mark(struct __sk_buff *skb, u32 lvl, struct ax_work *w, u32 len)
{
	if (w->d.h.phase == AX_PH_CLOSE || w->d.h.phase == AX_PH_DEAD ||
	    (w->d.h.phase == AX_PH_BODY && w->d.r.left > len))
		return;
	if (w->d.h.phase == AX_PH_START && !w->d.r.carry) {
		w->d.snap_seq = w->d.h.nxt;
		w->d.r.since = 0;
	} else {
		ax_snapshot(skb, lvl);
	}
}

/* Reads the data that met the listener in place of this child: `len` bytes, from w->drain_seq on. */
AX_GLOBAL int ax_adopt(struct __sk_buff *skb, u32 lvl, u32 len)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_conn *c = ax_conn_of(skb);
	u32 seq, end;
	u8 dir;

	if (!w || !c)
		return -1;
	if (!ax_config.server) {
		c->kind = AX_KIND_OPAQUE;
		return 0;
	}
	seq = w->seq;
	end = w->end;
	ax_count(AX_INFO_EARLY_DATA);
	dir = w->dir;
	w->dir = 0;
	w->resp = 0;
	w->kind = w->was = c->kind;
	w->loose = 0;
	w->lose = AX_LOST_REORDER;
	ax_dir_out(c, &w->d, 0);
	w->run_seq = w->drain_seq;
	w->run_len = len;
	w->run_kept = 1;
	ax_drain_run(skb, lvl, w);
	if (w->why || w->kind == AX_KIND_SYNC)
		ax_count(w->why ? w->why : w->lose);
	w->why = 0;
	ax_dir_in(c, &w->d, 0, 1);
	c->kind = w->kind;
	w->dir = dir;
	w->seq = seq;
	w->end = end;
	w->pos = 0;
	return 0;
}

/* Does the packet begin with a whole line that ends as a request line does? A method that is not known by name is not
 * enough to take a packet for a request. */
AX_GLOBAL int ax_is_request_line(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	u32 n, to;
	int lf;

	if (!w)
		return 0;
	n = w->end;
	if (n > AX_WINDOW)
		n = AX_WINDOW;
	if (ax_load(skb, lvl, 0, 0, n))
		return 0;
	w->wlen = n;
	lf = ax_find_lf(lvl, 0);
	if (lf <= 0 || lf >= AX_WINDOW)
		return 0;
	to = lf;
	if (w->win[AX_INDEX(to - 1, AX_WINDOW)] == '\r')
		to--;
	return ax_version_at(lvl, to) == AX_L_OK;
}

/* First bytes of a connection, or of a turn on one found in mid-stream. 1: read it as a request. */
AX_GLOBAL int ax_recognise(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_conn *c = ax_conn_of(skb);
	u32 n, dir_flag;
	int m;

	if (!w || !c)
		return 0;
	dir_flag = w->dir ? AX_C_DIR : 0;
	if (c->kind == AX_KIND_SYNC) {
		if (c->turns && (c->flags & AX_C_DIR) == dir_flag)
			return 0;
		c->flags = (c->flags & ~AX_C_DIR) | dir_flag;
		if (++c->turns > 16) {
			c->kind = AX_KIND_OPAQUE;
			ax_count(AX_CONN_OTHER);
			return 0;
		}
		if (c->req.n && w->dir != c->role)
			return 0;	/* a body that looks like a request: those come from the other side */
	}
	n = w->end;
	if (n > 64)
		n = 64;
	if (ax_load(skb, lvl, 0, 0, n))
		return 0;
	if (c->kind == AX_KIND_SYNC ? n >= 5 && !c->req.n && ax_is_tls_record(w->win) : n >= 3 && ax_is_tls(w->win)) {
		c->kind = AX_KIND_TLS;
		ax_count(AX_CONN_TLS);
		return 0;
	}
	if (c->kind == AX_KIND_SYNC) {
		if (n < 16)
			return 0;
		if ((ax_word(w, 0) & AX_LOW(7)) == AX_W_HTTP1) {
			c->turns--;	/* an answer: it is HTTP, only its requests are not known by name */
			return 0;
		}
		m = ax_method_of(lvl, 0);
		if (m < 0 || ((m & 0xff) == AX_METHOD_OTHER && !ax_is_request_line(skb, lvl)))
			return 0;
		c->role = w->dir;
		c->req.nxt = w->seq;
		c->req.phase = AX_PH_START;
		c->req.flags = 0;
		c->req.memo_len = 0;
		c->reqr.carry = 0;
		c->resp.phase = AX_PH_START;
		c->resp.flags = AX_D_ANY;
		c->resp.memo_len = 0;
		c->respr.carry = 0;
		c->reqr.over = c->respr.over = 0;
		c->respr.method = 0;
		c->respr.since = 0;
		c->reqr.since = 0;
		c->resp.n = c->req.n;
		c->kind = AX_KIND_NEW;
	} else if (c->role != w->dir) {
		/* the first side has sent empty lines at most: the other one asks */
		c->role = w->dir;
		c->resp.nxt = c->req.nxt;
		c->resp.flags = c->req.flags = 0;
		c->req.nxt = w->seq;
	}
	if (c->role == AX_ROLE_SERVER ? !ax_config.server : !ax_config.client) {
		c->kind = AX_KIND_OPAQUE;
		return 0;
	}
	return 1;
}

/* How many requests are lost with a connection that is `kind` from now on: what was outstanding, or the one. */
static __always_inline u32 ax_lost_with(const struct ax_conn *c, u32 kind)
{
	s32 waiting = c->req.n - c->resp.n;

	return kind == AX_KIND_BROKEN && waiting > 0 ? waiting : 1;
}

/* The stream cannot be followed any further from here: wait for the next request. */
static __always_inline void ax_lose(struct ax_conn *c, u32 why)
{
	s32 waiting = c->req.n - c->resp.n;

	ax_count_n(why, waiting > 0 ? waiting : 1);
	c->kind = AX_KIND_SYNC;
	c->flags |= AX_C_LOOSE;
	c->turns = 0;
	c->resp.n = c->req.n;
}

/* The responses' direction was closed at the stream's end: what was not answered will not be. */
AX_GLOBAL int ax_settle(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_conn *c = ax_conn_of(skb);
	u32 error = AX_ERROR_NO_RESPONSE;

	if (!w || !c)
		return -1;
	if (w->d.h.phase == AX_PH_CLOSE) {
		ax_message_end(skb, lvl);
	} else if (w->d.h.phase != AX_PH_START && w->d.h.phase != AX_PH_FIELDS && w->d.h.phase != AX_PH_DEAD) {
		ax_response_done(skb, lvl, AX_ERROR_INCOMPLETE);
		ax_next_message(w);
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_QUEUE + 1; i++) {
		if (c->req.n == c->resp.n)
			break;
		w->status = 0;
		ax_response_done(skb, lvl, error);
	}
	return 0;
}

/* Takes the connection's state for a packet at `seq`. */
AX_GLOBAL int ax_begin(struct __sk_buff *skb, u32 lvl, u32 seq)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_conn *c = ax_conn_of(skb);
	u32 nxt;

	if (!w || !c)
		return -1;
	w->resp = w->dir ^ c->role;
	/* before everything else: whose `nxt` this is, that has written the rest */
	nxt = AX_READ(w->resp ? c->resp.nxt : c->req.nxt);
	ax_barrier();
	w->kind = w->was = c->kind;
	w->loose = !!(c->flags & AX_C_LOOSE);
	w->lose = AX_LOST_GAP;
	w->why = 0;
	w->status = c->status;
	w->memo_left = c->memo_left;
	w->memo_status = c->memo_status;
	ax_dir_out(c, &w->d, w->resp);
	w->d.h.nxt = w->d.h.flags & AX_D_ANY ? seq : nxt;
	return 0;
}

/* Gives it back after a reading. -1: another run has overwritten the work area, the connection is given up. */
AX_GLOBAL int ax_commit(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_conn *c = ax_conn_of(skb);
	int lost;

	if (!w || !c)
		return -1;
	if (w->owner != (u64)(long)skb) {
		ax_count(AX_LOST_NESTED);
		c->kind = AX_KIND_BROKEN;
		return -1;
	}
	if (w->resp) {
		c->status = w->status;
		if (w->d.h.memo_len) {
			c->memo_left = w->memo_left;
			c->memo_status = w->memo_status;
		}
	}
	if (w->why && !w->dir) {
		c->doubt = w->why;
		c->doubt_kind = w->kind;
		w->kind = w->d.h.n ? AX_KIND_HTTP : w->was;
		w->d.h.phase = AX_PH_DEAD;
	}
	lost = w->kind == AX_KIND_SYNC && w->was == AX_KIND_HTTP;
	if (w->kind != w->was && !lost)	/* the other direction may have changed it meanwhile */
		c->kind = w->kind;
	ax_dir_in(c, &w->d, w->resp, !w->dir);
	if (w->why && w->dir)	/* now that this packet's own requests are among those outstanding */
		ax_count_n(w->why, ax_lost_with(c, w->kind));
	if (lost)
		ax_lose(c, w->lose);
	return 0;
}

/* What was doubtful becomes certain when TCP has taken the packets: the reading of what arrives has ended, or bytes
 * are missing. If TCP has discarded them others come in their place, and the reading goes on from before them. */
AX_GLOBAL int ax_decide(struct __sk_buff *skb)
{
	struct ax_conn *c = ax_conn_of(skb);
	struct bpf_sock *sk = ax_sock(skb);
	struct bpf_tcp_sock *tp;
	struct ax_hot *h;
	s32 ahead;

	if (!c || !sk)
		return -1;
	tp = bpf_tcp_sock(sk);
	if (!tp)
		return -1;
	h = c->role == AX_ROLE_SERVER ? &c->req : &c->resp;
	ahead = AX_READ(tp->rcv_nxt) - h->nxt;
	if (c->doubt_kind == AX_KIND_SYNC || h->phase == AX_PH_DEAD) {
		if (ahead < 0)
			return 0;
		if (c->doubt_kind != AX_KIND_SYNC) {
			ax_count_n(c->doubt, ax_lost_with(c, c->doubt_kind));
			c->kind = c->doubt_kind;
		} else if (ahead) {
			ax_lose(c, c->doubt);
		}
	}
	c->doubt = 0;
	return 0;
}

/* On a connection found in mid-stream: is this packet the rest of a response that began before the request we saw, or
 * older still (a keep-alive probe, a retransmission)? */
static __always_inline int ax_is_rest(struct __sk_buff *skb, u32 lvl, struct ax_work *w)
{
	struct bpf_sock *sk = ax_sock(skb);
	struct bpf_tcp_sock *tp;
	u32 n = w->end;

	if (!n || !sk || !w->loose || !w->resp || !(w->d.h.flags & AX_D_ANY) || w->d.r.carry)
		return 0;
	if (!w->dir) {
		tp = bpf_tcp_sock(sk);
		if (tp && (s32)(w->seq + n - AX_READ(tp->rcv_nxt)) <= 0)
			return 1;
	}
	if (n > 7)
		n = 7;
	return ax_load(skb, lvl, 0, 0, n) || ((ax_word(w, 0) ^ AX_W_HTTP1) << (64 - 8 * n));
}

/* Does TCP take an arriving RST at `seq` (RFC 5961 section 3.2)? */
static __always_inline int ax_resets(struct __sk_buff *skb, u32 seq)
{
	struct bpf_sock *sk = ax_sock(skb);
	struct bpf_tcp_sock *tp = sk ? bpf_tcp_sock(sk) : 0;

	return tp && AX_READ(tp->rcv_nxt) == seq;
}

/* The long way. */
AX_GLOBAL int ax_parse(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_conn *c = ax_conn_of(skb);
	u32 seq, len, end_seq, nxt;
	int r;

	if (!w)
		return 0;
	seq = w->seq;
	len = w->end;
	end_seq = seq + len;
	if (!c || c->kind >= AX_KIND_CLOSED)
		return 0;
	if (w->tcp_flags & AX_TCP_RST && (w->dir || ax_resets(skb, seq)))
		c->seen[w->dir & 1] |= AX_SEEN_RESET;
	if (c->doubt) {
		ax_decide(skb);
		if (c->kind >= AX_KIND_CLOSED)
			return 0;
	}
	if (c->kind == AX_KIND_SYNC || (c->kind == AX_KIND_NEW && !c->req.n && !c->reqr.carry && !c->req.phase &&
					(c->req.nxt == seq || w->dir != c->role))) {
		if (!len || !ax_recognise(skb, lvl))
			return 0;
	}
	ax_count(AX_INFO_PARSED);
	ax_begin(skb, lvl, seq);
	if (ax_is_rest(skb, lvl, w))
		return 0;
	r = AX_O_READ;
	nxt = w->d.h.nxt;
	if (seq != nxt && (len || (!w->dir && (w->tcp_flags & AX_TCP_FIN))))
		r = ax_arrange(skb, lvl);
	else if (len && !w->dir && c->early && ax_is_late(skb, lvl)) {
		ax_lose(c, AX_LOST_REORDER);
		return 0;
	}
	if (r == AX_O_LOST) {
		/* perhaps this packet is the next request already */
		ax_lose(c, w->lose);
		w->pos = 0;
		if (!ax_recognise(skb, lvl))
			return 0;
		ax_begin(skb, lvl, seq);
		w->d.h.nxt = seq;
		r = AX_O_READ;
	}
	if (r == AX_O_READ && (len || (s32)(w->d.h.nxt - nxt) > 0)) {	/* a FIN may tell of a body's last bytes alone */
		if (!w->dir && !w->pos && len)
			ax_mark(skb, lvl, w, len);
		ax_read(skb, lvl, w, AX_ROUNDS);
		w->d.h.nxt = end_seq;
		if (ax_commit(skb, lvl))
			return 0;
	}
	if (!w->dir && c->early) {
		/* perhaps the gap is closed: by this packet, or by one on another core while this one was kept */
#pragma clang loop unroll(disable)
		for (int i = 0; i < AX_RUNS; i++) {
			if (w->why || !ax_drain_choose(skb, lvl))
				break;
			ax_begin(skb, lvl, 0);
			ax_mark(skb, lvl, w, w->run_len);
			ax_drain_run(skb, lvl, w);
			if (ax_commit(skb, lvl))
				return 0;
			ax_put_back(skb, lvl);
		}
	}
	if ((w->fin || ((w->tcp_flags & AX_TCP_FIN) && end_seq == w->d.h.nxt)) && w->kind == AX_KIND_HTTP && !w->why) {
		c->seen[w->dir & 1] |= AX_SEEN_FIN;
		if (w->resp) {
			ax_begin(skb, lvl, end_seq);
			ax_settle(skb, lvl);
			ax_commit(skb, lvl);
		}
	}
	return 0;
}

/* Data that meets a listener: the child does not exist yet (deferred accept, Fast Open, a busy accept queue). */
AX_GLOBAL int ax_listener(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	u8 addr[16] __attribute__((aligned(8))), head[40] __attribute__((aligned(8)));
	u32 ports, off;

	if (!w)
		return 0;
	if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)))
		goto lost;
	if (head[0] >> 4 == 6) {
		__builtin_memcpy(addr, head + 8, 16);
		off = 40;
	} else {
		ax_mapped(addr, *(u32 *)(head + 12));
		off = (head[0] & 15) * 4;
	}
	if (bpf_skb_load_bytes(skb, off, &ports, sizeof(ports)))
		goto lost;
	ax_early_key(w, addr, bpf_ntohs((u16)ports), bpf_ntohs(ports >> 16));
	if (ax_stash_all(skb, lvl, 0))
		ax_count(AX_LOST_EARLY);
	return 0;
lost:
	ax_count(AX_LOST_LOAD);
	return 0;
}

/* Do the packet's first `n` bytes have this signature? Leaves them in the window. */
static __always_inline int ax_same(struct __sk_buff *skb, struct ax_work *w, u32 n, u64 key, u64 memo)
{
	n = AX_INDEX(n, 2 * AX_WINDOW);
	if (!n || n > AX_WINDOW)
		return 0;
	AX_OPAQUE(n);
	n = AX_SIZE(n, AX_WINDOW);
	AX_OPAQUE(n);
	if (bpf_skb_load_bytes(skb, w->base, w->win, n))
		return 0;
	return ax_signature(w, n, key) == memo;
}

/* A request whose head is the last one's again, alone in its packet, with none outstanding. */
static __always_inline int ax_again(struct __sk_buff *skb, struct ax_work *w, struct ax_conn *c, const struct ax_ctl *ctl,
				    u32 seq, u32 len)
{
	if (c->req.n != c->resp.n || c->reqr.carry)
		return 0;
	if (!ax_same(skb, w, len, ax_request_key(ctl, ctl->route_serial), c->req_memo))
		return 0;
	w->now = ax_sent(skb, w->dir);
	c->t0 = ax_now(w);
	c->q0_no = c->req.n;
	c->req.n++;
	if (!w->dir) {
		c->snap_seq = seq;
		if (c->reqr.since != 1)
			c->reqr.since = 1;
	}
	ax_hand_on(&c->req, seq + len, !w->dir);
	return 1;
}

/* Can the response under way be counted without asking for more than the connection's hot lines? Then it answers the
 * request in q0, which is complete. */
static __always_inline int ax_answers_q0(const struct ax_conn *c)
{
	u32 n = c->resp.n;

	return c->req.n != n && c->q0_no == n && c->q0.flags & AX_Q_DONE && !c->respr.method;
}

/* Counts the response to q0, whose first byte came at `first`, and whose last comes now. 0, or -1. */
static __always_inline int ax_count_answer(struct __sk_buff *skb, u32 lvl, struct ax_work *w, struct ax_conn *c,
					   const struct ax_ctl *ctl, u64 first, u64 body, u64 wire, u16 status)
{
	struct ax_done *o = &w->done;
	struct ax_cold *cold;
	struct bpf_sock *sk;

	o->t0 = c->t0;
	o->duration = ax_since(c->t0, w->now);
	o->ttfb = ax_since(c->t0, first);
	o->route = c->q0.route;
	o->method = c->q0.method;
	o->version = !(c->q0.flags & AX_Q_HTTP10);
	o->q_flags = c->q0.flags;
	o->number = c->resp.n;
	o->req_body = c->q0.body;
	o->req_wire = c->q0.over + c->q0.body;
	o->resp_body = body;
	o->resp_wire = wire;
	o->status = status;
	o->error = 0;
	o->first = 0;
	if (AX_LIKELY(ax_slot_holds(c, o) && !ax_worth_telling(w, ctl))) {
		ax_add(c->slot, o);
		return 0;
	}
	sk = ax_sock(skb);
	if (!sk)
		return -1;
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (!cold)
		return -1;
	ax_account_body(w, lvl, c, cold);
	if (ax_worth_telling(w, ctl))
		ax_tell_body(w, lvl, cold, sk);
	return 0;
}

/* A response whose head is the last one's again, and whose body is not over-long for its packet. */
static __always_inline int ax_answered(struct __sk_buff *skb, u32 lvl, struct ax_work *w, struct ax_conn *c,
				       const struct ax_ctl *ctl, u32 seq, u32 len)
{
	u32 head = c->resp.memo_len;
	u64 rest = len - head;

	if (!ax_answers_q0(c) || c->respr.carry || rest > c->memo_left || c->q0.method == AX_METHOD_HEAD ||
	    c->q0.method == AX_METHOD_CONNECT)
		return 0;
	if (!ax_same(skb, w, head, ctl->secret, c->resp_memo))
		return 0;
	w->now = ax_sent(skb, w->dir);
	ax_now(w);
	if (rest < c->memo_left) {
		c->respr.left = c->memo_left - rest;
		c->respr.body = rest;
		c->respr.over = head;
		c->respr.t0 = w->now;
		c->status = c->memo_status;
		c->resp.phase = AX_PH_BODY;
	} else {
		if (ax_count_answer(skb, lvl, w, c, ctl, w->now, rest, len, c->memo_status))
			return 0;
		c->resp.n++;
	}
	if (!w->dir) {
		c->snap_seq = seq;
		c->respr.since = rest == c->memo_left;
	}
	ax_hand_on(&c->resp, seq + len, !w->dir);
	return 1;
}

/* The last packet of a response's body, leaving: TCP will not discard it, so nothing is kept to go back to. */
static __always_inline int ax_answer_ends(struct __sk_buff *skb, u32 lvl, struct ax_work *w, struct ax_conn *c,
					  const struct ax_ctl *ctl, u32 seq, u32 len)
{
	struct ax_rest *r = &c->respr;
	u64 body = r->body + len;

	if (!ax_answers_q0(c))
		return 0;
	w->now = ax_sent(skb, 1);
	ax_now(w);
	if (ax_count_answer(skb, lvl, w, c, ctl, r->t0, body, body + r->over, c->status))
		return 0;
	r->left = 0;
	r->body = 0;
	r->over = 0;
	c->resp.n++;
	c->resp.flags = 0;
	c->resp.phase = AX_PH_START;
	ax_hand_on(&c->resp, seq + len, 0);
	return 1;
}

static __always_inline int ax_short(struct __sk_buff *skb, u32 lvl, struct ax_work *w, struct ax_conn *c, u32 dir,
				    u32 seq, u32 len)
{
	struct ax_hot *h = dir ^ c->role ? &c->resp : &c->req;
	struct ax_rest *r = dir ^ c->role ? &c->respr : &c->reqr;
	struct ax_ctl *ctl;

	if (h->nxt != seq)
		return 0;
	if (c->early)
		return 0;
	if (h->phase == AX_PH_BODY && len < r->left) {
		r->left -= len;
		r->body += len;
		ax_hand_on(h, seq + len, !dir);
		return 1;
	}
	ctl = ax_control();
	if (!ctl)
		return 0;
	if (h->phase == AX_PH_BODY)
		return dir && c->role == AX_ROLE_SERVER && len == r->left ?
			ax_answer_ends(skb, lvl, w, c, ctl, seq, len) : 0;
	if (h->phase != AX_PH_START || h->flags || !h->memo_len)
		return 0;
	if (dir ^ c->role)
		return len >= h->memo_len ? ax_answered(skb, lvl, w, c, ctl, seq, len) : 0;
	return len == h->memo_len ? ax_again(skb, w, c, ctl, seq, len) : 0;
}

/* On a connection found in mid-stream a turn's first packet decides: is this one behind it? ax_parse would do nothing
 * about it. The rest of a body may be as long as it likes; the turn ends when the other side says something. */
static __always_inline int ax_in_turn(const struct ax_conn *c, u32 dir, u8 flags)
{
	return c->kind == AX_KIND_SYNC && c->turns && !(c->flags & AX_C_DIR) == !dir && !(flags & AX_TCP_RST) && !c->doubt;
}

/* 1: let the packet by. */
static __always_inline int ax_packet(struct __sk_buff *skb, u32 dir)
{
	u8 *data = AX_DATA(skb), *end = AX_DATA_END(skb), *th;
	struct bpf_sock *sk = skb->sk;
	struct ax_conn *c;
	struct ax_work *w;
	u32 off, len, seq, lvl;
	u8 flags;

	if (!sk)
		return 1;
	if (data + 40 > end)
		goto unread;
	if (data[0] >> 4 == 4) {
		if (data[9] != AX_IPPROTO_TCP)
			return 1;
		/* a fragment: the stack puts them together before the hook, so none should come */
		if (*(u16 *)(data + 6) & bpf_htons(0x3fff))
			goto unread;
		off = (data[0] & 15) * 4;
	} else if (data[6] == AX_IPPROTO_TCP) {
		off = 40;
	} else {
		/* the only extension header that is let by is the kernel's own mark on packets over 64 KiB ("BIG TCP",
		 * RFC 2675), which never leaves the host */
		if (data[6] || data + 48 > end || data[40] != AX_IPPROTO_TCP || data[41] || data[42] != 0xc2)
			goto unread;
		off = 48;
	}
	th = data + off;
	if (th + 20 > end)
		goto unread;
	flags = th[13];
	off += (th[12] >> 4) * 4;
	len = skb->len - off;
	if ((s32)len < 0)
		goto unread;
	seq = bpf_ntohl(*(u32 *)(th + 4));
	if (flags & AX_TCP_SYN)
		seq++;
	if (!dir && (len || flags & AX_TCP_SYN)) {
		/* data, or the handshake's beginning: before the child is made (5.10 does not show us its answer by IPv6) */
		if (!ax_guard(skb, seq + len, len ? AX_ASK_JUDGED : AX_ASK_WHOSE))
			return 0;
	}
	if (!len && !(flags & (AX_TCP_FIN | AX_TCP_RST)))
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != AX_IPPROTO_TCP)
		return 1;
	c = bpf_sk_storage_get(&ax_conns, sk, 0, 0);
	if (c ? c->kind != AX_KIND_HTTP && (c->kind >= AX_KIND_CLOSED || ax_in_turn(c, dir, flags)) : !len)
		return 1;
	w = ax_claim((u64)(long)skb, &lvl);
	if (!w)
		return 1;
	w->base = off;
	w->dir = dir;
	w->from_chunk = 0;
	if (c && c->kind == AX_KIND_HTTP && !(flags & (AX_TCP_FIN | AX_TCP_RST)) &&
	    ax_short(skb, lvl, w, c, dir, seq, len)) {
		if (AX_LIKELY(dir || !c->early))
			goto done;
		/* what comes next was kept, on another core, while this was read */
		seq += len;
		len = 0;
	}
	w->seq = seq;
	w->pos = 0;
	w->end = len;
	w->wbase = 0;
	w->wlen = 0;
	w->now = ax_sent(skb, dir);
	w->why = 0;
	w->fin = 0;
	w->tcp_flags = flags;
	if (!c && sk->state == AX_TCP_LISTEN) {
		if (!dir)
			ax_listener(skb, lvl);
	} else {
		off = c ? 0 : ax_meet(skb, lvl);
		if ((s32)off > 0)
			ax_adopt(skb, lvl, off);
		ax_parse(skb, lvl);
	}
done:
	w->owner = 0;
	return 1;
unread:
	return dir || ax_guard(skb, 0, AX_ASK_UNREAD);
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * gate.h - in front of the socket (tc): every byte that goes to a selected workload is judged before TCP sees it.
 *
 * What is judged need not be what TCP takes: a packet may be discarded behind us, and others come in its place. So of
 * what TCP has not taken yet (at or above its rcv_nxt) only the very same bytes are let by again.
 */
#ifndef AX_GATE_H
#define AX_GATE_H

#include "answer.h"
#include "conn.h"
#include "denied.h"

#define AX_OLD_ACK (1 << 20)	/* an acknowledgement so far behind is none (RFC 5961 section 5.2) */

/* An interface on whose other end a container is. Filters that judge what is sent to it have a class (TCA_BPF_CLASSID). */
struct ax_link {
	s32 netns;		/* that the sockets there are in, as this network namespace numbers it */
	u32 pad;
};

/* Whose a server's socket is and which set judges it. A child has its listener's. */
struct ax_guard {
	u64 cgroup;
	u8 comm[AX_COMM];
	u64 client;		/* it has connected, and was not connected to: never selected */
	u64 now;		/* see AX_GUARD: written and read at once, for two cores may bring it up to date */
};

/* A generation, and of it the number and flags of the set (0: not selected). */
#define AX_GUARD(gen, flags, set) ((u64)(gen) << 32 | (u64)(flags) << 16 | (set))
#define AX_GUARD_GEN(now) ((u32)((now) >> 32))
#define AX_GUARD_FLAGS(now) ((u32)(now) >> 16)
#define AX_GUARD_SET(now) ((u32)(now) & (AX_POL_SETS - 1))

struct ax_early {
	struct ax_gate_state s;
	struct ax_texts t;
};

struct ax_ports {
	u64 word[1024];
};

AX_SK_MAP(ax_gate_texts, struct ax_texts, 0);
AX_SK_MAP(ax_guards, struct ax_guard, BPF_F_CLONE);
AX_MAP(ax_early, BPF_MAP_TYPE_LRU_HASH, struct ax_pair, struct ax_early, 1024, 0);
AX_MAP(ax_early_area, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct ax_early, 2, 0);
AX_MAP(ax_links, BPF_MAP_TYPE_HASH, u32, struct ax_link, 16384, BPF_F_NO_PREALLOC);
AX_MAP(ax_pol_ports, BPF_MAP_TYPE_ARRAY, u32, struct ax_ports, 1, 0);

/* The socket that the packet goes to, or, if `any`, also one that is half open; to be released. Two calls: 5.10's verifier
 * walks a tenth more of the program if one takes either size. */
static __always_inline struct bpf_sock *ax_server_socket(struct __sk_buff *skb, struct ax_gw *w, u32 ip6, int any)
{
	struct bpf_sock_tuple *t = &w->tuple;

	if (ip6) {
		__builtin_memcpy(t->ipv6.saddr, w->src, 16);
		__builtin_memcpy(t->ipv6.daddr, w->dst, 16);
		t->ipv6.sport = w->sport;
		t->ipv6.dport = w->dport;
		return any ? bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv6), w->netns, 0) :
			     bpf_sk_lookup_tcp(skb, t, sizeof(t->ipv6), w->netns, 0);
	}
	t->ipv4.saddr = *(u32 *)w->src;
	t->ipv4.daddr = *(u32 *)w->dst;
	t->ipv4.sport = w->sport;
	t->ipv4.dport = w->dport;
	return any ? bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv4), w->netns, 0) :
		     bpf_sk_lookup_tcp(skb, t, sizeof(t->ipv4), w->netns, 0);
}

static __always_inline u64 *ax_port_word(u32 port)
{
	u32 zero = 0;
	struct ax_ports *p = bpf_map_lookup_elem(&ax_pol_ports, &zero);

	return p ? &p->word[port >> 6 & 1023] : 0;
}

/* Have packets to a port (host byte order) looked at, for they may be for a selected workload. Of two cores that set bits of
 * one word at once one may lose its own (5.10 has no atomic OR): what is not judged for that is dropped, and marks it again. */
static __always_inline void ax_mark_port(u32 port)
{
	u64 *word = ax_port_word(port);

	if (word)
		*word |= 1ULL << (port & 63);
}

/* The set that judges a server's socket, by key {w->target}: see struct ax_pol_target. */
AX_GLOBAL u32 ax_set_of(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 *set;

	if (!w)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 8; i++) {
		__builtin_memset(&w->target, 0, sizeof(w->target));
		w->target.half = w->half;
		if (!(i & 4))
			w->target.cgroup = w->cgroup;
		if (!(i & 2))
			__builtin_memcpy(w->target.comm, w->comm, AX_COMM);
		if (!(i & 1))
			w->target.port = w->lport;
		set = bpf_map_lookup_elem(&ax_pol_target, &w->target);
		if (set)
			return *set;
	}
	return 0;
}

/* Brings a guard up to a generation; returns AX_GUARD. */
static __always_inline u64 ax_guard_now(struct ax_guard *g, u32 lvl, struct ax_gw *w, u32 gen)
{
	u32 set, half = gen & 1, at;
	struct ax_pol_set *s;
	u64 now;

	w->half = half;
	w->cgroup = g->cgroup;
	__builtin_memcpy(w->comm, g->comm, AX_COMM);
	set = g->client ? 0 : ax_set_of(lvl);
	at = half * AX_POL_SETS + (set & (AX_POL_SETS - 1));
	s = set ? bpf_map_lookup_elem(&ax_pol_dir, &at) : 0;
	if (!s || !s->serial) {
		g->now = AX_GUARD(gen, 0, 0);
		return AX_GUARD(gen, 0, 0);
	}
	ax_mark_port(w->lport);
	now = AX_GUARD(gen, s->flags, set);
	g->now = now;
	return now;
}

/* Who the caller is: by its socket if it is on this host, else by its address. */
AX_GLOBAL int ax_identify(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct bpf_sock_tuple *tuple;
	struct ax_pol_peer *peer;
	struct ax_owner *owner;
	struct bpf_sock *sk;
	u32 *ident, found = 0;

	if (!w)
		return -1;
	w->ident = AX_IDENT_UNKNOWN;
	w->block = 0;
	w->peer_cgroup = 0;
	tuple = &w->tuple;
	if (w->ip6) {
		__builtin_memcpy(tuple->ipv6.saddr, w->dst, 16);
		__builtin_memcpy(tuple->ipv6.daddr, w->src, 16);
		tuple->ipv6.sport = w->dport;
		tuple->ipv6.dport = w->sport;
		sk = bpf_sk_lookup_tcp(skb, tuple, sizeof(tuple->ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple->ipv4.saddr = *(u32 *)w->dst;
		tuple->ipv4.daddr = *(u32 *)w->src;
		tuple->ipv4.sport = w->dport;
		tuple->ipv4.dport = w->sport;
		sk = bpf_sk_lookup_tcp(skb, tuple, sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (sk) {
		owner = sk->state == AX_TCP_LISTEN ? 0 : bpf_sk_storage_get(&ax_owner, sk, 0, 0);
		if (owner) {
			found = 1;
			w->peer_cgroup = owner->cgroup;
			__builtin_memcpy(w->peer_comm, owner->comm, AX_COMM);
		}
		bpf_sk_release(sk);
	}
	w->addr.bits = 32 + 128;
	w->addr.half = w->half;
	__builtin_memcpy(w->addr.addr, w->raddr, 16);
	peer = bpf_map_lookup_elem(&ax_pol_addr, &w->addr);
	if (peer)
		w->block = peer->block;
	if (found) {
		w->caller.cgroup = w->peer_cgroup;
		__builtin_memcpy(w->caller.comm, w->peer_comm, AX_COMM);
		w->caller.half = w->half;
		ident = bpf_map_lookup_elem(&ax_pol_caller, &w->caller);
		if (!ident) {
			__builtin_memset(w->caller.comm, 0, AX_COMM);
			ident = bpf_map_lookup_elem(&ax_pol_caller, &w->caller);
		}
		if (ident)
			w->ident = *ident;
		return 0;
	}
	/* an address of our own whose socket has gone: unknown */
	if (*(u64 *)w->raddr == *(u64 *)w->laddr && *(u64 *)(w->raddr + 8) == *(u64 *)(w->laddr + 8))
		return 0;
	if (ax_loopback(w->raddr))
		return 0;
	w->ident = peer && peer->ident ? peer->ident : AX_IDENT_WORLD;
	return 0;
}

/* Keeps, or brings back, the texts of a head that goes on in the next packet. */
static __always_inline void ax_texts_move(struct ax_texts *to, const struct ax_texts *from)
{
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < sizeof(struct ax_texts) / 8; i++)
		((u64 *)to)[i] = ((const u64 *)from)[i];
}

/* What becomes of the packet at hand. */
enum ax_gate_do {
	AX_DO_PASS = 0,
	AX_DO_DROP,
	AX_DO_ANSWER,		/* a 403 */
	AX_DO_RESET,
	AX_DO_END,		/* reset the server's end alone, once more: the client has its answer */
};

/* Reads the packet's payload from `from` on and judges it. AX_DO_PASS, or why not in w->reason. */
static __always_inline int ax_gate_read(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, u64 secret, u32 from)
{
	w->pos = from;
	w->at = 0;
	w->wlen = 0;
	w->refills = 0;
	w->reason = 0;
	w->heads = 0;
	w->head_end = 0;
	w->framed = 0;
	w->texts = 1;
	return ax_g_read(skb, lvl, secret) ? AX_DO_RESET : AX_DO_PASS;
}

/* The packet's addresses alone: the socket's own hook may see it on another interface. */
static __always_inline struct ax_pair *ax_early_pair(struct ax_gw *w)
{
	struct ax_pair *p = ax_pair_of(w);

	p->ifindex = 0;
	return p;
}

/* Is the packet one of a connection whose handshake lacks nothing but its end? A listener on every address is found for
 * what only passes through this host as well, and a sender may invent its address. */
AX_GLOBAL int ax_half_open(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct bpf_sock *sk;
	u8 *ip, *th;
	int half;

	if (!w)
		return 0;
	sk = ax_server_socket(skb, w, w->ip6, 1);
	if (!sk)
		return 0;
	half = sk->state == AX_TCP_NEW_SYN_RECV;
	ip = w->out;
	th = w->out + 64;
	if (!half && sk->state == AX_TCP_LISTEN && !bpf_skb_load_bytes(skb, w->l2 + w->iplen, th, 20)) {
		/* a SYN cookie */
		if (w->ip6)
			half = !bpf_skb_load_bytes(skb, w->l2, ip, 40) && !bpf_tcp_check_syncookie(sk, ip, 40, (void *)th, 20);
		else
			half = !bpf_skb_load_bytes(skb, w->l2, ip, 20) && !bpf_tcp_check_syncookie(sk, ip, 20, (void *)th, 20);
	}
	bpf_sk_release(sk);
	return half;
}

/* First data of a connection that its server has not accepted yet (deferred accept, a busy queue, SYN cookies): judged as
 * its beginning, and kept for the child. There is one that begins where the child does, or the child is reset. */
AX_GLOBAL int ax_gate_early(struct __sk_buff *skb, u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_early *e, *kept;
	u32 area = lvl;
	int r;

	if (!w)
		return AX_DO_DROP;
	e = bpf_map_lookup_elem(&ax_early_area, &area);
	if (!e)
		return AX_DO_DROP;
	kept = bpf_map_lookup_elem(&ax_early, ax_early_pair(w));
	if (kept && kept->s.start != w->seq && w->seq - kept->s.start < 1 << 20) {
		w->reason = AX_DENY_ORDER;	/* the child will take it, when there is one */
		return AX_DO_DROP;
	}
	if (!kept && !ax_half_open(skb, lvl))
		return AX_DO_PASS;	/* not ours; else it will be found unjudged */
	ax_identify(skb, lvl);
	__builtin_memset(&w->r, 0, sizeof(w->r));
	w->first = 1;
	w->number = 0;
	r = AX_DO_PASS;
	if (!w->soft && ax_allowed_unread(lvl, secret)) {
		w->r.phase = AX_G_PASS;
	} else if (ax_gate_read(skb, lvl, w, secret, 0)) {
		if (w->reason == AX_DENY_NON_HTTP && w->set.flags & AX_POL_NON_HTTP)
			w->r.phase = AX_G_PASS;
		else if (!w->soft)
			return AX_DO_RESET;
		else
			w->r.phase = AX_G_LOST;
	}
	__builtin_memset(&e->s, 0, sizeof(e->s));
	e->s.start = w->seq;
	e->s.next = w->seq + w->end;
	e->s.heads = w->seq + w->framed;
	e->s.open = 1;
	e->s.n = w->heads;
	e->s.gen = 0;
	e->s.serial = w->set.serial;
	e->s.r = w->r;
	ax_texts_move(&e->t, &w->t);
	if (bpf_map_update_elem(&ax_early, ax_early_pair(w), e, BPF_ANY)) {
		w->reason = AX_DENY_EARLY;
		return AX_DO_DROP;
	}
	return r;
}

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

/* Zeros behind a head in the window, so that whole blocks may be compared. */
static __always_inline void ax_pad_head(struct ax_gw *w, u32 len)
{
	u8 *behind = w->win + AX_INDEX(len, 2 * AX_WINDOW);

	for (u32 i = 0; i < AX_BLOCK; i += 8)
		*(u64 *)(behind + i) = 0;
}

static __always_inline int ax_load_head(struct __sk_buff *skb, struct ax_gw *w, u32 off, u32 len)
{
	AX_OPAQUE(len);
	len = AX_SIZE(len, AX_WINDOW);
	AX_OPAQUE(len);
	if (bpf_skb_load_bytes(skb, w->base + off, w->win, len))
		return -1;
	ax_pad_head(w, len);
	return 0;
}

/* Is the head in the window the one in the memo? By blocks: the verifier goes on with each length that a loop may end at. */
static __always_inline int ax_is_memo(const struct ax_gw *w, const struct ax_gate *g)
{
	u32 len = g->s.memo_len;
	u64 differs = 0;

	AX_OPAQUE(len);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW; i += AX_BLOCK) {
		if (i >= len)
			break;
#pragma clang loop unroll(full)
		for (u32 k = 0; k < AX_BLOCK; k += 8)
			differs |= *(u64 *)(w->win + i + k) ^ *(u64 *)(g->memo + i + k);
	}
	return !differs;
}

/* What TCP has not taken may come again only as it was. AX_DO_PASS: it did. */
static __always_inline int ax_gate_again(struct __sk_buff *skb, struct ax_gw *w, const struct ax_gate *g)
{
	u32 len = g->s.memo_len, off = g->s.memo_seq - w->seq;

	if (!len || len > AX_WINDOW || (s32)(w->rcv_nxt - g->s.memo_seq) < 0 || g->s.memo_seq + len != g->s.heads ||
	    (s32)off < 0 || off + len > w->end)
		return AX_DO_RESET;
	if (ax_load_head(skb, w, off, len))
		return AX_DO_DROP;
	return ax_is_memo(w, g) ? AX_DO_PASS : AX_DO_RESET;
}

/* The last head again, alone in its packet: what was judged then holds. */
static __always_inline int ax_gate_repeats(struct __sk_buff *skb, struct ax_gw *w, const struct ax_gate *g)
{
	u32 len = w->end;

	if (g->s.r.phase != AX_G_START || len != g->s.memo_len || len > AX_WINDOW || !len || w->seq != g->s.next ||
	    g->s.serial != w->set.serial || g->s.memo.verdict == AX_VERDICT_NONE)
		return 0;
	return !ax_load_head(skb, w, 0, len) && ax_is_memo(w, g);
}

/* Is the phase within a head? Then its texts are kept for the next packet. */
static __always_inline int ax_in_head(u32 phase)
{
	return phase > AX_G_START_LF && phase <= AX_G_HEAD_LF;
}

/* Is what is denied a request, and the first one of its packet? Others would be owed an answer before it. */
static __always_inline int ax_answerable(const struct ax_gw *w)
{
	return w->reason != AX_DENY_NON_HTTP && w->heads == (w->reason == AX_DENY_RULE);
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

/* The option at an index of the TCP header in w->out, `len` bytes long: kind | length << 8, or 0: there is none. */
AX_GLOBAL u32 ax_option_at(u32 lvl, u32 len, u32 at)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 kind, size = 1;

	if (!w || at >= len || at > 58)
		return 0;
	kind = w->out[AX_INDEX(at, 64)];
	if (kind > 1)
		size = w->out[AX_INDEX(at + 1, 64)];
	if (!kind || at + size > len || (kind > 1 && size < 2))
		return 0;
	return kind | size << 8;
}

/* Looks for an option of either kind: its index, or 0. */
AX_GLOBAL u32 ax_option(u32 lvl, u32 len, u32 kind, u32 other)
{
	u32 at = 20;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 40; i++) {
		u32 found = ax_option_at(lvl, len, at);

		if (!found)
			return 0;
		if ((found & 0xff) == kind || (found & 0xff) == other)
			return at;
		at += found >> 8;
	}
	return 0;
}

/* Puts the TCP header into w->out. Its length, or -1. */
AX_GLOBAL int ax_tcp_header(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 th, len;

	if (!w)
		return -1;
	th = w->l2 + w->iplen;
	len = w->base - th;
	if (len < 20 || len > 60)
		return -1;
	AX_OPAQUE(len);
	len = AX_SIZE(len, 64);
	AX_OPAQUE(len);
	return bpf_skb_load_bytes(skb, th, w->out, len) ? -1 : (int)len;
}

/* Takes from the packet what an answer to it needs. */
AX_GLOBAL int ax_prepare(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	int len, at;

	if (!w)
		return -1;
	if (w->l2 && bpf_skb_load_bytes(skb, 0, w->mac, 12))
		return -1;
	len = ax_tcp_header(skb, lvl);
	if (len < 20)
		return -1;
	w->has_ts = 0;
	at = ax_option(lvl, len, 8, 8);
	if (at > 0 && at <= 50 && len >= 30) {
		w->has_ts = 1;
		__builtin_memcpy(&w->tsval, w->out + AX_INDEX(at, 64) + 2, 4);
		__builtin_memcpy(&w->tsecr, w->out + AX_INDEX(at, 64) + 6, 4);
	}
	w->ack = w->seq + w->end + !!(w->tcp_flags & AX_TCP_FIN);
	return 0;
}

/* A SYN to a selected workload: without Multipath TCP (RFC 8684), which splits a request over connections, and without
 * Fast Open (RFC 7413), whose data would be judged before there is a connection. */
AX_GLOBAL int ax_plain_syn(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u8 nops[40];
	int len, at;
	u32 th;

	if (!w)
		return AX_TC_SHOT;
	if (w->end)
		return AX_TC_SHOT;	/* it comes again without data */
	th = w->l2 + w->iplen;
	len = ax_tcp_header(skb, lvl);
	if (len < 20)
		return AX_TC_SHOT;
	if (!ax_option(lvl, len, 30, 34))
		return AX_TC_PASS;
	__builtin_memset(nops, 1, sizeof(nops));
	for (u32 i = 0; i < 2; i++) {
		u32 size, off;

		len = ax_tcp_header(skb, lvl);
		at = len > 20 ? ax_option(lvl, len, i ? 34 : 30, i ? 34 : 30) : 0;
		if (at <= 0 || at > 58)
			continue;
		if (!i && w->out[AX_INDEX(at, 64) + 2] >> 4 == 1)
			return AX_TC_SHOT;	/* MP_JOIN */
		size = w->out[AX_INDEX(at + 1, 64)];
		AX_OPAQUE(size);
		off = th + at;
#pragma clang loop unroll(disable)
		for (u32 k = 0; k < 40; k++) {
			u8 was;
			u16 from, to;

			if (k >= size)
				break;
			was = w->out[AX_INDEX(at + k, 64)];
			/* the byte's place in its 16-bit word of the header */
			from = (at + k) & 1 ? bpf_htons(was) : bpf_htons(was << 8);
			to = (at + k) & 1 ? bpf_htons(1) : bpf_htons(1 << 8);
			if (bpf_l4_csum_replace(skb, th + 16, from, to, 2) ||
			    bpf_skb_store_bytes(skb, off + k, nops, 1, 0))
				return AX_TC_SHOT;
		}
	}
	return AX_TC_PASS;
}

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

/* A packet of a connection that there is no socket for yet, or no more. */
AX_GLOBAL int ax_gate_listener(struct __sk_buff *skb, u32 lvl, u32 selected)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_pol_ctl *ctl = ax_pol_control();
	int r;

	if (!w || !ctl)
		return AX_TC_SHOT;
	if (bpf_map_lookup_elem(&ax_tombs, ax_pair_of(w)) &&
	    (ax_prepare(skb, lvl) || ax_tomb_of(skb, lvl, ctl->header)))
		return AX_TC_STOLEN;	/* it may be acknowledged: its sender must not take it for unsent */
	if (!selected)
		return AX_TC_PASS;
	if ((w->tcp_flags & (AX_TCP_SYN | AX_TCP_ACK)) == AX_TCP_SYN)
		return w->soft ? AX_TC_PASS : ax_plain_syn(skb, lvl);
	if (!w->end)
		return AX_TC_PASS;
	r = ax_gate_early(skb, lvl, ctl->secret);
	if (r == AX_DO_PASS)
		return AX_TC_PASS;
	ax_deny_count(w->reason);
	if (r == AX_DO_DROP)
		return AX_TC_SHOT;
	ax_verdict_count(w->policy, AX_VERDICT_DROPPED);
	if (ax_prepare(skb, lvl))
		return AX_TC_SHOT;
	return ax_gate_early_end(skb, lvl, ctl->header);
}

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

/* The first fragment of a segment, whose ports are at `th`: to a selected workload it is dropped. Put together the segment
 * would look to the socket's hook like one that has been judged, in the place of one that TCP has discarded. */
static __always_inline int ax_first_fragment(const u8 *th, const u8 *end, const struct ax_pol_ctl *ctl)
{
	u64 *port;

	if (ctl->mode != AX_POL_MODE_ENFORCE)
		return AX_TC_PASS;
	if (th + 4 > end)
		return AX_TC_SHOT;
	port = ax_port_word(bpf_ntohs(*(u16 *)(th + 2)));
	if (!port || !(*port >> (bpf_ntohs(*(u16 *)(th + 2)) & 63) & 1))
		return AX_TC_PASS;
	ax_deny_count(AX_DENY_FRAGMENT);
	return AX_TC_SHOT;
}

/* A packet that is too short for a segment: is it the first fragment of one (IPv4; a fragment's shortest payload is 8)? */
static __always_inline int ax_short_fragment(const u8 *data, const u8 *end)
{
	const u8 *ip = data;

	if (data + 34 <= end && *(u16 *)(data + 12) == bpf_htons(0x0800))
		ip = data + 14;
	return ip + 20 <= end && ip[0] >> 4 == 4 && ip[9] == AX_IPPROTO_TCP && *(u16 *)(ip + 6) & bpf_htons(0x2000) &&
	       !(*(u16 *)(ip + 6) & bpf_htons(0x1fff));
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
	if (data + 14 + 40 > end ||
	    (data + 14 + 60 > end && skb->protocol == bpf_htons(0x86dd) && (u32)(end - data) < skb->len)) {
		/* its headers are not at hand: virtio_net leaves a long packet in pieces, two bytes of TCP's header over IPv6 apart;
		 * what stays out of sight the socket's hook drops */
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

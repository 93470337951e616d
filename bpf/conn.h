/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* conn.h - finding and making a connection's state; who it belongs to. */
#ifndef AX_CONN_H
#define AX_CONN_H

#include "maps.h"

static __always_inline struct bpf_sock *ax_sock(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	return sk ? bpf_sk_fullsock(sk) : 0;
}

static __always_inline struct ax_conn *ax_conn_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = ax_sock(skb);

	return sk ? bpf_sk_storage_get(&ax_conns, sk, 0, 0) : 0;
}

static __always_inline void ax_dir_out(struct ax_conn *c, struct ax_dir *d, int resp)
{
	d->snap_seq = c->snap_seq;
	if (resp) {
		d->h = c->resp;
		d->memo = c->resp_memo;
		d->r = c->respr;
	} else {
		d->h = c->req;
		d->memo = c->req_memo;
		d->r = c->reqr;
	}
}

/* Writes `nxt`, and everything else before it: with that another run may go on. An arriving packet's run looks at
 * `early` behind it, whose writer looks at `nxt` behind that: the two must not pass each other, and of all orders of
 * memory that is the one that x86 does not keep by itself. An atomic operation does. */
static __always_inline void ax_hand_on(struct ax_hot *h, u32 nxt, int arriving)
{
	ax_barrier();
	if (arriving)
		__sync_fetch_and_add(&h->nxt, nxt - h->nxt);
	else
		h->nxt = nxt;
}

static __always_inline void ax_hot_in(struct ax_hot *to, const struct ax_hot *from, int arriving)
{
	to->n = from->n;
	to->phase = from->phase;
	to->flags = from->flags;
	to->memo_len = from->memo_len;
	ax_hand_on(to, from->nxt, arriving);
}

/* `arriving`: the direction is the one that TCP may discard from. */
static __always_inline void ax_dir_in(struct ax_conn *c, struct ax_dir *d, int resp, int arriving)
{
	if (arriving)
		c->snap_seq = d->snap_seq;
	if (resp) {
		c->resp_memo = d->memo;
		c->respr = d->r;
		ax_hot_in(&c->resp, &d->h, arriving);
	} else {
		c->req_memo = d->memo;
		c->reqr = d->r;
		ax_hot_in(&c->req, &d->h, arriving);
	}
}

static __always_inline void ax_mapped(u8 *out, u32 v4)
{
	*(u64 *)out = 0;
	*(u32 *)(out + 8) = 0xffff0000;	/* ::ffff: in memory order on a little-endian machine */
	*(u32 *)(out + 12) = v4;
}

/* The ends' addresses as IPv6, IPv4 mapped. From the socket, not from the packet: hooks run on both sides of NAT. */
static __always_inline void ax_local(struct bpf_sock *sk, u8 *out)
{
	u32 v4 = AX_READ(sk->src_ip4), a = AX_READ(sk->src_ip6[0]), b = AX_READ(sk->src_ip6[1]);
	u32 c = AX_READ(sk->src_ip6[2]), d = AX_READ(sk->src_ip6[3]);

	if (sk->family != AX_AF_INET6) {
		ax_mapped(out, v4);
		return;
	}
	*(u32 *)out = a;
	*(u32 *)(out + 4) = b;
	*(u32 *)(out + 8) = c;
	*(u32 *)(out + 12) = d;
}

static __always_inline void ax_remote(struct bpf_sock *sk, u8 *out)
{
	u32 v4 = AX_READ(sk->dst_ip4), a = AX_READ(sk->dst_ip6[0]), b = AX_READ(sk->dst_ip6[1]);
	u32 c = AX_READ(sk->dst_ip6[2]), d = AX_READ(sk->dst_ip6[3]);

	if (sk->family != AX_AF_INET6) {
		ax_mapped(out, v4);
		return;
	}
	*(u32 *)out = a;
	*(u32 *)(out + 4) = b;
	*(u32 *)(out + 8) = c;
	*(u32 *)(out + 12) = d;
}

/* RFC 1918, 6598, 3927, 4193, 4291: loopback, private, shared, link-local. */
static __always_inline int ax_private(const u8 *a)
{
	if (*(u64 *)a == 0 && *(u32 *)(a + 8) == 0xffff0000)
		return a[12] == 127 || a[12] == 10 || (a[12] == 192 && a[13] == 168) ||
		       (a[12] == 172 && (a[13] & 0xf0) == 16) || (a[12] == 169 && a[13] == 254) ||
		       (a[12] == 100 && (a[13] & 0xc0) == 64);
	if ((a[0] & 0xfe) == 0xfc || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80))
		return 1;
	return *(u64 *)a == 0 && *(u32 *)(a + 8) == 0 && *(u32 *)(a + 12) == 0x01000000;
}

/* RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3. */
static __always_inline int ax_loopback(const u8 *a)
{
	if (*(u64 *)a)
		return 0;
	return (*(u32 *)(a + 8) == 0xffff0000 && a[12] == 127) || (!*(u32 *)(a + 8) && *(u32 *)(a + 12) == 0x01000000);
}

static __always_inline void ax_workload(const struct ax_key *key, struct ax_wl_key *wl)
{
	__builtin_memset(wl, 0, sizeof(*wl));
	wl->cgroup = key->cgroup;
	__builtin_memcpy(wl->comm, key->comm, AX_COMM);
	wl->port = key->port;
	wl->role = key->role;
}

/* May this workload be told apart by one more route (what = 0) or peer (1)? Remembers that it may. */
static __always_inline int ax_admit(struct ax_work *w, const struct ax_key *key, u64 hi, u64 lo, u64 what)
{
	struct ax_wl_seen *seen = &w->seen_key;	/* the stack of eight frames is short */
	struct ax_wl none = {}, *wl;
	u32 one = 1;

	ax_workload(key, &seen->wl);
	seen->hi = hi;
	seen->lo = lo;
	seen->what = what;
	if (bpf_map_lookup_elem(&ax_wl_seen, seen))
		return 1;
	wl = bpf_map_lookup_elem(&ax_wl, &seen->wl);
	if (!wl) {
		bpf_map_update_elem(&ax_wl, &seen->wl, &none, BPF_NOEXIST);
		wl = bpf_map_lookup_elem(&ax_wl, &seen->wl);
		if (!wl)
			return 0;
	}
	if (what ? wl->peers >= ax_config.max_peers : wl->routes >= ax_config.max_routes)
		return 0;
	if (bpf_map_update_elem(&ax_wl_seen, seen, &one, BPF_NOEXIST))
		return 1;	/* another CPU was first, or no room: not worth losing a name for */
	__sync_fetch_and_add(what ? &wl->peers : &wl->routes, 1);
	return 1;
}

/* The cold half of a connection that speaks HTTP: made with its first request line. */
AX_GLOBAL int ax_introduce(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_owner *owner;
	struct ax_cold *cold;

	if (!w || !sk)
		return -1;
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (cold)
		return 0;
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!cold)
		return -1;
	ax_local(sk, cold->laddr);
	ax_remote(sk, cold->raddr);
	cold->lport = sk->src_port;
	cold->rport = bpf_ntohs((u16)sk->dst_port);
	cold->cookie = bpf_get_socket_cookie(skb);
	cold->key.cgroup = bpf_sk_cgroup_id(sk);
	cold->key.role = w->dir ^ w->resp;	/* requests arrive: server; requests leave: client */
	cold->key.port = cold->key.role == AX_ROLE_SERVER ? cold->lport : cold->rport;
	owner = bpf_sk_storage_get(&ax_owner, sk, 0, 0);
	if (owner) {
		cold->pid = owner->pid;
		cold->tid = owner->tid;
		__builtin_memcpy(cold->key.comm, owner->comm, AX_COMM);
	}
	if (ax_config.peers == 2 || (ax_config.peers == 1 && ax_private(cold->raddr))) {
		if (ax_admit(w, &cold->key, *(u64 *)cold->raddr, *(u64 *)(cold->raddr + 8), 1))
			__builtin_memcpy(cold->key.peer, cold->raddr, 16);
		else
			ax_count(AX_INFO_OTHER_PEER);
	}
	ax_count(AX_CONN_HTTP1);
	return 0;
}

#endif

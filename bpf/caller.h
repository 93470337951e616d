/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* caller.h - who asks: the identity, and the block of addresses, by which rules name a caller. */
#ifndef AX_CALLER_H
#define AX_CALLER_H

#include "conn.h"
#include "judge.h"
#include "workload.h"

#define AX_LOOPBACK_IFINDEX 1	/* in every network namespace (the kernel's LOOPBACK_IFINDEX) */

#define AX_TOLD_MAX 0x3fff	/* what a port tells: 1 for other hosts, else a container's network namespace and 2 */

/* What a port tells is written so that what others write into the same field is none of it, nor 0. */
static __always_inline u32 ax_told_key(void)
{
	struct ax_pol_ctl *ctl = ax_pol_control();

	return ctl ? (ctl->secret & 0x7fff) | (AX_TOLD_MAX + 1) : 0;
}

/* A bridge judges in the place of its ports, but does not know by which of them a packet came: the port leaves it in the packet. */
static __always_inline void ax_port_tells(struct __sk_buff *skb)
{
	u32 key = skb->ifindex, told = 0;
	struct ax_link *link = bpf_map_lookup_elem(&ax_links, &key);

	if (link && link->netns < AX_BEYOND_OTHERS)
		return;	/* it has ports itself, and one of them has told */
	if (link && link->netns <= AX_TOLD_MAX - 2)
		told = link->netns + 2;
	skb->tc_index = told ^ ax_told_key();
}

/* What a port has told; 0: none has. */
static __always_inline u32 ax_told_of(u64 came)
{
	u32 told = (u32)(came >> 32) ^ ax_told_key();

	return told <= AX_TOLD_MAX ? told : 0;
}

/* The interface by which the packet came in; 0: this host sends it to a container. */
static __always_inline u32 ax_came_in(struct __sk_buff *skb, const struct ax_gw *w)
{
	u32 here = AX_READ(skb->ifindex), came = AX_READ(skb->ingress_ifindex);

	return w->in ? came : here;
}

/* The same, beside what a bridge's port has told. */
static __always_inline u64 ax_came_by(struct __sk_buff *skb, const struct ax_gw *w)
{
	return (u64)AX_READ(skb->tc_index) << 32 | ax_came_in(skb, w);
}

/* The network namespace of the container that the packet comes out of. AX_NETNS_NONE: by a bridge that nobody has told by which
 * port; AX_NETNS_HERE: the same, by another bridge. -1: it came in otherwise, or this host sent it. */
static __always_inline s64 ax_from_container(struct __sk_buff *skb, const struct ax_gw *w)
{
	u64 by = ax_came_by(skb, w);
	u32 key = by, told;
	struct ax_link *link = bpf_map_lookup_elem(&ax_links, &key);

	if (!link)
		return -1;
	if (link->netns >= AX_BEYOND_OTHERS)
		return link->netns;
	told = ax_told_of(by);
	if (told)
		return (s64)told - 2;
	return link->netns == AX_BEYOND_BRIDGE ? AX_NETNS_HERE : AX_NETNS_NONE;
}

/* Has this host sent the packet? */
static __always_inline int ax_from_here(struct __sk_buff *skb, const struct ax_gw *w)
{
	return ax_came_in(skb, w) == (w->in ? 0 : AX_LOOPBACK_IFINDEX);
}

/* Does a packet come out of another container than what was sent on its connection before? A container may invent the
 * addresses and numbers of another's connection. */
static __always_inline int ax_from_elsewhere(struct __sk_buff *skb, const struct ax_gw *w, u64 before)
{
	return ax_came_by(skb, w) != before && ax_from_container(skb, w) >= 0;
}

/* Does nobody tell any more by which port of a bridge a connection's packets come? Its filter has gone, and is put back. */
static __always_inline int ax_untold(struct __sk_buff *skb, const struct ax_gw *w, u64 before)
{
	return ax_from_container(skb, w) == AX_NETNS_NONE && ax_told_of(before) && (u32)before == ax_came_in(skb, w);
}

/* Who the caller is: by its socket if it is on this host, else by its address. What comes out of a container is a socket's
 * there, or nobody's: it may invent an address, but not another's socket. */
AX_GLOBAL int ax_identify(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct bpf_sock_tuple *tuple;
	struct ax_pol_peer *peer;
	struct ax_owner *owner;
	struct bpf_sock *sk;
	u32 *ident, found = 0;
	s64 from, netns;

	if (!w)
		return -1;
	w->ident = AX_IDENT_UNKNOWN;
	w->block = 0;
	w->peer_cgroup = 0;
	tuple = &w->tuple;
	from = ax_from_container(skb, w);
	netns = from == AX_NETNS_HERE ? -1 : from;	/* BPF_F_CURRENT_NETNS */
	if (w->ip6) {
		__builtin_memcpy(tuple->ipv6.saddr, w->dst, 16);
		__builtin_memcpy(tuple->ipv6.daddr, w->src, 16);
		tuple->ipv6.sport = w->dport;
		tuple->ipv6.dport = w->sport;
		sk = bpf_sk_lookup_tcp(skb, tuple, sizeof(tuple->ipv6), netns, 0);
	} else {
		tuple->ipv4.saddr = *(u32 *)w->dst;
		tuple->ipv4.daddr = *(u32 *)w->src;
		tuple->ipv4.sport = w->dport;
		tuple->ipv4.dport = w->sport;
		sk = bpf_sk_lookup_tcp(skb, tuple, sizeof(tuple->ipv4), netns, 0);
	}
	if (sk) {
		owner = sk->state == AX_TCP_LISTEN ? 0 : bpf_sk_storage_get(&ax_owner, sk, 0, 0);
		if (owner && owner->cgroup) {
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
	/* a socket of our own that has gone: unknown, whichever of the host's addresses it had */
	if (from >= 0 || ax_from_here(skb, w) || ax_loopback(w->raddr) ||
	    (*(u64 *)w->raddr == *(u64 *)w->laddr && *(u64 *)(w->raddr + 8) == *(u64 *)(w->laddr + 8)))
		return 0;
	w->ident = peer && peer->ident ? peer->ident : AX_IDENT_WORLD;
	return 0;
}

#endif

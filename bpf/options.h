/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * options.h - the options of a TCP header: the timestamps that an answer echoes, and those that a SYN to a selected
 * workload may not have.
 */
#ifndef AX_OPTIONS_H
#define AX_OPTIONS_H

#include "answer.h"

/* https://www.iana.org/assignments/tcp-parameters */
#define AX_OPT_NOP 1
#define AX_OPT_TIMESTAMPS 8	/* RFC 7323 */
#define AX_OPT_MPTCP 30		/* RFC 8684 */
#define AX_OPT_FAST_OPEN 34	/* RFC 7413 */
#define AX_MP_JOIN 1		/* a further path of a connection, in the upper half of the byte behind MPTCP's length */

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

/* Looks for an option: its index, or 0. */
AX_GLOBAL u32 ax_option(u32 lvl, u32 len, u32 kind)
{
	u32 at = 20;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 40; i++) {
		u32 found = ax_option_at(lvl, len, at);

		if (!found)
			return 0;
		if ((found & 0xff) == kind)
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

/* Is the packet's data of Multipath TCP, which may put it into another order than TCP's? A connection that is judged from its
 * SYN on has none. */
AX_GLOBAL int ax_multipath(struct __sk_buff *skb, u32 lvl)
{
	int len = ax_tcp_header(skb, lvl);

	return len > 20 && ax_option(lvl, len, AX_OPT_MPTCP);
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
	at = ax_option(lvl, len, AX_OPT_TIMESTAMPS);
	if (at > 0 && at <= 50 && len >= 30) {
		w->has_ts = 1;
		__builtin_memcpy(&w->tsval, w->out + AX_INDEX(at, 64) + 2, 4);
		__builtin_memcpy(&w->tsecr, w->out + AX_INDEX(at, 64) + 6, 4);
	}
	w->ack = w->seq + w->end + !!(w->tcp_flags & AX_TCP_FIN);
	return 0;
}

/* Puts padding in the place of an option of `size` bytes, in the packet alone: those behind it stay where they are. */
AX_GLOBAL int ax_blank_option(struct __sk_buff *skb, u32 lvl, u32 at, u32 size)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u8 nop = AX_OPT_NOP;
	u32 th;

	if (!w || at > 58 || size > 40)
		return -1;
	th = w->l2 + w->iplen;
#pragma clang loop unroll(disable)
	for (u32 k = 0; k < 40; k++) {
		u8 was;
		u16 from, to;

		if (k >= size)
			break;
		was = w->out[AX_INDEX(at + k, 64)];
		/* the byte's place in its 16-bit word of the header */
		from = (at + k) & 1 ? bpf_htons(was) : bpf_htons(was << 8);
		to = (at + k) & 1 ? bpf_htons(AX_OPT_NOP) : bpf_htons(AX_OPT_NOP << 8);
		if (bpf_l4_csum_replace(skb, th + 16, from, to, 2) || bpf_skb_store_bytes(skb, th + at + k, &nop, 1, 0))
			return -1;
	}
	return 0;
}

/* A SYN to a selected workload: without Multipath TCP, which splits a request over connections, and without Fast Open,
 * whose data would be judged before there is a connection. */
AX_GLOBAL int ax_plain_syn(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 at = 20;
	int len;

	if (!w)
		return AX_TC_SHOT;
	if (w->end) {
		ax_deny_count(AX_DENY_ORDER);	/* it comes again without data */
		return AX_TC_SHOT;
	}
	len = ax_tcp_header(skb, lvl);
	if (len < 20) {
		ax_deny_count(AX_DENY_STRAY);
		return AX_TC_SHOT;
	}
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 40; i++) {
		u32 found = ax_option_at(lvl, len, at), kind = found & 0xff;

		if (!found)
			break;
		if (kind == AX_OPT_MPTCP && w->out[AX_INDEX(at, 64) + 2] >> 4 == AX_MP_JOIN) {
			ax_deny_count(AX_DENY_MULTIPATH);
			return AX_TC_SHOT;
		}
		if ((kind == AX_OPT_MPTCP || kind == AX_OPT_FAST_OPEN) && ax_blank_option(skb, lvl, at, found >> 8)) {
			ax_deny_count(AX_DENY_MEMORY);
			return AX_TC_SHOT;
		}
		at += found >> 8;
	}
	return AX_TC_PASS;
}

#endif

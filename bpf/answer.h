/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * answer.h - packets that the kernel sends in the place of a server: the 403, acknowledgements of what is thrown away
 * behind it, and resets in both directions. Each is the packet at hand, written anew.
 */
#ifndef AX_ANSWER_H
#define AX_ANSWER_H

#include "checksum.h"
#include "judge.h"
#include "strict.h"

#define AX_EINVAL 22
#define AX_OUT_TEXT 128		/* where the text of an answer begins in w->out */

#define AX_TOMB_TAKES (1ULL << 30)	/* bytes of an upload that are thrown away before it is reset */

#define AX_TOMBS 8192		/* a power of two */

/* The oldest gives way to the newest; the kernel's LRU would not say so. Two cores may put one in for the same place. */
AX_MAP(ax_tombs, BPF_MAP_TYPE_HASH, struct ax_pair, struct ax_tomb, AX_TOMBS + 1024, 0);
AX_MAP(ax_tomb_places, BPF_MAP_TYPE_ARRAY, u32, struct ax_pair, AX_TOMBS, 0);
AX_MAP(ax_tomb_turns, BPF_MAP_TYPE_ARRAY, u32, struct ax_turn, 1, 0);

#define AX_403 "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 26\r\nConnection: close\r\n"
#define AX_403_NAME "x-axon-policy: "
#define AX_403_BODY "Denied by network policy.\n"

/* Writes the 403 behind w->out[AX_OUT_TEXT]. Returns its length. */
AX_GLOBAL u32 ax_write_403(u32 lvl, u32 policy, u32 named)
{
	static const char first[] = AX_403, name[] = AX_403_NAME, body[] = AX_403_BODY;
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_pol_name *p = 0;
	u32 at = sizeof(first) - 1, len;
	u8 *out;

	if (!w)
		return 0;
	out = w->out + AX_OUT_TEXT;
	__builtin_memcpy(out, first, sizeof(first) - 1);
	if (named)
		p = bpf_map_lookup_elem(&ax_pol_names, &policy);
	if (p && p->len && p->len <= AX_POL_NAME) {
		__builtin_memcpy(out + at, name, sizeof(name) - 1);
		at += sizeof(name) - 1;
		len = p->len;
		AX_OPAQUE(len);
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_POL_NAME; i++) {
			if (i >= len)
				break;
			out[AX_INDEX(at + i, 512)] = p->text[i];
		}
		at = AX_INDEX(at + len, 512);
		out[at] = '\r';
		out[at + 1] = '\n';
		at += 2;
	}
	at = AX_INDEX(at, 512);
	out[at] = '\r';
	out[at + 1] = '\n';
	at += 2;
	if (!w->head_only) {
		__builtin_memcpy(out + at, body, sizeof(body) - 1);
		at += sizeof(body) - 1;
	}
	*(u32 *)(out + at) = 0;	/* the checksum runs over whole words */
	return at;
}

/* Sum of the pseudo-header, not complemented. */
static __always_inline u32 ax_pseudo(struct ax_gw *w, u32 len)
{
	u32 sum = bpf_htons(len) + bpf_htons(AX_IPPROTO_TCP);

	sum = bpf_csum_diff(0, 0, (void *)w->src, 16, sum);
	return bpf_csum_diff(0, 0, (void *)w->dst, 16, sum);
}

/*
 * Writes the packet anew: `flags`, `seq`, `ack` and `text` bytes of w->out[AX_OUT_TEXT], towards the client (`back`) or the
 * server. 0, or -1: it is spoilt.
 */
AX_GLOBAL int ax_rewrite(struct __sk_buff *skb, u32 lvl, u32 flags, u32 text)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 back, ts, tcp, total, l2, sum, at;
	int partial;
	u8 *o;

	if (!w)
		return -1;
	back = flags >> 8 & 1;
	ts = flags >> 9 & 1;
	l2 = w->l2 ? 14 : 0;
	tcp = ts ? 32 : 20;
	if (text > 512)
		return -1;
	at = l2 + (w->ip6 ? 40 : 20);
	total = at + tcp + text;
	/* A packet whose checksum the device is still to complete (CHECKSUM_PARTIAL) may not be cut in front of its field, and
	 * that tells it from others. The field itself does not: in one packet of 65,536 it is the pseudo-header's sum by chance. */
	partial = bpf_skb_change_tail(skb, l2 + w->iplen + 17, 0) == -AX_EINVAL;
	if (bpf_skb_change_tail(skb, total, 0))
		return -1;
	/* Ethernet */
	o = w->out;
	if (l2) {
		if (back) {
			__builtin_memcpy(o, w->mac + 6, 6);
			__builtin_memcpy(o + 6, w->mac, 6);
		} else {
			__builtin_memcpy(o, w->mac, 12);
		}
		*(u16 *)(o + 12) = bpf_htons(w->ip6 ? 0x86dd : 0x0800);
	}
	/* IP */
	o = w->out + l2;
	if (w->ip6) {
		*(u32 *)o = bpf_htonl(0x60000000);
		*(u16 *)(o + 4) = bpf_htons(tcp + text);
		o[6] = AX_IPPROTO_TCP;
		o[7] = 64;
		__builtin_memcpy(o + 8, back ? w->dst : w->src, 16);
		__builtin_memcpy(o + 24, back ? w->src : w->dst, 16);
		o += 40;
	} else {
		*(u16 *)o = bpf_htons(0x4500);
		*(u16 *)(o + 2) = bpf_htons(20 + tcp + text);
		*(u32 *)(o + 4) = bpf_htonl(0x00004000);	/* do not fragment (RFC 791) */
		*(u16 *)(o + 8) = bpf_htons(64 << 8 | AX_IPPROTO_TCP);
		*(u16 *)(o + 10) = 0;
		*(u32 *)(o + 12) = *(u32 *)(back ? w->dst : w->src);
		*(u32 *)(o + 16) = *(u32 *)(back ? w->src : w->dst);
		*(u16 *)(o + 10) = ~ax_folded((u32)bpf_csum_diff(0, 0, (void *)o, 20, 0));
		o += 20;
	}
	/* TCP */
	*(u16 *)o = back ? w->dport : w->sport;
	*(u16 *)(o + 2) = back ? w->sport : w->dport;
	*(u32 *)(o + 4) = bpf_htonl(back ? w->snd_nxt : w->rcv_nxt);
	*(u32 *)(o + 8) = flags & AX_TCP_ACK ? bpf_htonl(w->ack) : 0;
	*(u16 *)(o + 12) = bpf_htons((tcp / 4) << 12 | (flags & 0x3f));
	*(u16 *)(o + 14) = bpf_htons(0xffff);
	*(u32 *)(o + 16) = 0;
	if (ts) {
		*(u32 *)(o + 20) = bpf_htonl(0x0101080a);	/* RFC 7323 appendix A */
		*(u32 *)(o + 24) = w->tsecr;
		*(u32 *)(o + 28) = w->tsval;
	}
	sum = ax_pseudo(w, tcp + text);
	if (partial) {
		*(u16 *)(o + 16) = ax_folded(sum);
	} else {
		sum = ts ? bpf_csum_diff(0, 0, (void *)o, 32, sum) : bpf_csum_diff(0, 0, (void *)o, 20, sum);
		if (text) {
			u32 n = (text + 3) & ~3U;

			AX_OPAQUE(n);
			n = AX_SIZE(n, 1024);
			AX_OPAQUE(n);
			if (n > 516)
				return -1;
			n &= ~3U;
			sum = bpf_csum_diff(0, 0, (void *)(w->out + AX_OUT_TEXT), n, sum);
		}
		*(u16 *)(o + 16) = ~ax_folded(sum);
	}
	at += tcp;
	AX_OPAQUE(at);
	at = AX_SIZE(at, 128);
	AX_OPAQUE(at);
	if (bpf_skb_store_bytes(skb, 0, w->out, at, BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return -1;
	if (text) {
		AX_OPAQUE(text);
		text = AX_SIZE(text, 512);
		AX_OPAQUE(text);
		if (bpf_skb_store_bytes(skb, at, w->out + AX_OUT_TEXT, text, BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return 0;
}

#define AX_BACK 0x100		/* towards the client */
#define AX_TS 0x200		/* with timestamps */

static __always_inline int ax_send_back(struct __sk_buff *skb, u32 lvl, struct ax_gw *w, u32 flags, u32 text)
{
	if (ax_rewrite(skb, lvl, flags | AX_BACK | (w->has_ts ? AX_TS : 0), text))
		return -1;
	return bpf_clone_redirect(skb, w->ifindex, w->in ? BPF_F_INGRESS : 0);
}

/* The packet's connection, in w->pair. */
static __always_inline struct ax_pair *ax_pair_of(struct ax_gw *w)
{
	__builtin_memcpy(w->pair.src, w->src, 16);
	__builtin_memcpy(w->pair.dst, w->dst, 16);
	w->pair.ports = (u32)w->sport << 16 | w->dport;
	w->pair.ifindex = w->ifindex;
	return &w->pair;
}

/* Puts w->tomb into the table, in the place of the oldest one. */
AX_GLOBAL int ax_tomb_keep(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_turn *turn;
	struct ax_pair *place;
	struct ax_tomb *old;
	u32 i = 0, at;

	turn = bpf_map_lookup_elem(&ax_tomb_turns, &i);
	if (!w || !turn)
		return -1;
	i = ax_next_turn(turn);
	at = i & (AX_TOMBS - 1);
	place = bpf_map_lookup_elem(&ax_tomb_places, &at);
	if (!place)
		return -1;
	old = bpf_map_lookup_elem(&ax_tombs, place);
	if (old && old->turn == i - AX_TOMBS) {	/* else another one, of the same ports, that is younger */
		if (!old->had)
			ax_count(AX_INFO_ANSWER_LEFT);
		bpf_map_delete_elem(&ax_tombs, place);
	}
	w->tomb.turn = i;
	w->tomb.had = 0;
	*place = *ax_pair_of(w);
	if (bpf_map_update_elem(&ax_tombs, place, &w->tomb, BPF_ANY))
		ax_count(AX_INFO_ANSWER_LEFT);
	return 0;
}

/* The request is denied and nothing is owed on its connection: the client reads a 403 and the stream's end, the server
 * sees its connection reset. Returns what the hook does with the packet. */
AX_GLOBAL int ax_answer(struct __sk_buff *skb, u32 lvl, u32 named)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_tomb *t;
	u32 n;

	if (!w)
		return AX_TC_SHOT;
	w->head_only = w->r.method_len == 4 && *(u32 *)w->t.method == ('H' | 'E' << 8 | 'A' << 16 | 'D' << 24);
	n = ax_write_403(lvl, w->policy, named);
	t = &w->tomb;
	t->seq = w->snd_nxt;
	t->end = w->snd_nxt + n + 1;
	t->ack = w->ack;
	t->policy = w->policy;
	t->head_only = w->head_only;
	t->fin = !!(w->tcp_flags & AX_TCP_FIN);
	t->taken = 0;
	ax_tomb_keep(lvl);
	if (ax_send_back(skb, lvl, w, AX_TCP_ACK | AX_TCP_PSH | AX_TCP_FIN, n))
		return AX_TC_SHOT;
	return ax_rewrite(skb, lvl, AX_TCP_RST, 0) ? AX_TC_SHOT : AX_TC_PASS;
}

/* Ends a connection on which an answer would be taken for another one's. */
AX_GLOBAL int ax_reset_both(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);

	if (!w || ax_send_back(skb, lvl, w, AX_TCP_RST | AX_TCP_ACK, 0))
		return AX_TC_SHOT;
	return ax_rewrite(skb, lvl, AX_TCP_RST, 0) ? AX_TC_SHOT : AX_TC_PASS;
}

/* A packet of a denied connection whose socket has gone. 1: taken care of, drop it; 0: there is no such. */
AX_GLOBAL int ax_tomb_of(struct __sk_buff *skb, u32 lvl, u32 named)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_tomb *t;
	u32 n, end, flags;

	if (!w)
		return 0;
	t = bpf_map_lookup_elem(&ax_tombs, ax_pair_of(w));
	if (!t)
		return 0;
	flags = w->tcp_flags;
	if (flags & (AX_TCP_SYN | AX_TCP_RST)) {
		bpf_map_delete_elem(&ax_tombs, &w->pair);
		return !(flags & AX_TCP_SYN);
	}
	/* of a connection with other numbers: who has invented the denied request did not know them */
	if (w->snd_una - t->seq > t->end - t->seq)
		return 0;
	end = w->seq + w->end + !!(flags & AX_TCP_FIN);
	if (w->snd_una == t->end)
		t->had = 1;
	n = 0;
	if (w->end && (s32)(w->seq - t->ack) < 0 && (s32)(w->snd_una - t->end) < 0) {
		/* sent again: our answer, or its acknowledgement of the request, was lost */
		w->head_only = t->head_only;
		n = ax_write_403(lvl, t->policy, named);
	}
	if ((s32)(w->seq - t->ack) <= 0 && (s32)(end - t->ack) > 0) {
		t->taken += end - t->ack;
		t->ack = end;
		if (flags & AX_TCP_FIN)
			t->fin = 1;
	}
	w->ack = t->ack;
	if (t->taken > AX_TOMB_TAKES) {
		w->snd_nxt = t->end;
		bpf_map_delete_elem(&ax_tombs, &w->pair);
		ax_send_back(skb, lvl, w, AX_TCP_RST | AX_TCP_ACK, 0);
		return 1;
	}
	if (n) {
		w->snd_nxt = t->seq;
		ax_send_back(skb, lvl, w, AX_TCP_ACK | AX_TCP_PSH | AX_TCP_FIN, n);
	} else if (w->end || flags & AX_TCP_FIN) {
		w->snd_nxt = t->end;
		ax_send_back(skb, lvl, w, AX_TCP_ACK, 0);
	}
	return 1;
}

#endif

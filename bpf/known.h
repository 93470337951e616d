/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * known.h - heads that this core has judged lately, whatever connection they came on. A client that makes a connection for
 * each request sends the same head on every one, and one that is denied does so by necessity: it is compared with what was
 * judged, and not read again.
 */
#ifndef AX_KNOWN_H
#define AX_KNOWN_H

#include "flow.h"
#include "memo.h"

#define AX_KNOWN 64	/* a power of two */

/* What a judgement depends on beside the bytes. */
struct ax_known_key {
	u32 serial;		/* of the set; it has one of its own for each content */
	u32 ident;
	u32 block;
	u16 port;
	u16 len;		/* of the head; 0: the place is free */
	u32 first;		/* it was its connection's first request */
	u32 pad;
};

struct ax_known {
	struct ax_known_key key;
	struct ax_told told;
	u8 head[AX_WINDOW];	/* and zeros up to a whole block */
};

/* Written and read by the runs that hold the core's first work area alone, so never by two at once. */
AX_MAP(ax_gate_known, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct ax_known, AX_KNOWN, 0);

static __always_inline void ax_known_key_of(struct ax_known_key *key, const struct ax_gw *w)
{
	key->serial = w->set.serial;
	key->ident = w->ident;
	key->block = w->block;
	key->port = w->lport;
	key->len = w->end;
	key->first = !w->number;
	key->pad = 0;
}

/* The place of the head in the window, which is the whole payload. Keyed, so that nobody can choose heads that push each
 * other out. */
static __always_inline struct ax_known *ax_known_place(const struct ax_gw *w, const struct ax_known_key *key, u64 secret)
{
	u64 a = secret ^ ((u64)key->ident << 32 | key->block), b = ~secret ^ ((u64)key->serial << 32 | key->len);
	u32 at;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW; i += AX_BLOCK) {
		if (i >= key->len)
			break;
#pragma clang loop unroll(full)
		for (u32 k = 0; k < AX_BLOCK; k += 16) {
			a = (a ^ *(u64 *)(w->win + i + k)) * 0x9fb21c651e98df25ULL;
			b = (b ^ *(u64 *)(w->win + i + k + 8)) * 0xc2b2ae3d27d4eb4fULL;
			a ^= a >> 32;
			b ^= b >> 29;
		}
	}
	at = (a ^ b ^ (a ^ b) >> 32) & (AX_KNOWN - 1);
	return bpf_map_lookup_elem(&ax_gate_known, &at);
}

/* A known head that is denied. What a record would say of it is not known: it is read anew if there is to be one. */
static __always_inline int ax_known_denied(struct ax_gw *w, const struct ax_known *known)
{
	if (w->soft || ax_tells_denials())
		return 0;
	w->heads = 1;
	w->policy = known->told.policy;
	w->reason = AX_DENY_RULE;
	w->untold = 1;
	/* as much of the method as tells what the answer looks like */
	w->r.method_len = w->win[4] == ' ' ? 4 : 0;
	*(u32 *)w->t.method = *(u32 *)w->win;
	return -1;
}

/* Is the packet's payload a head that is known? 1, or -1: it is denied. Then w is as if it had been read; else 0. */
AX_GLOBAL int ax_known_head(struct __sk_buff *skb, u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_known_key key;
	struct ax_known *known;
	u64 differs = 0;
	u32 len;

	if (!w || lvl)
		return 0;
	len = w->end;
	if (!len || len > AX_WINDOW || ax_load_head(skb, w, 0, len))
		return 0;
	ax_known_key_of(&key, w);
	known = ax_known_place(w, &key, secret);
	if (!known)
		return 0;
#pragma clang loop unroll(full)
	for (u32 k = 0; k < sizeof(key) / 8; k++)
		differs |= ((u64 *)&key)[k] ^ ((u64 *)&known->key)[k];
	if (differs || !ax_head_is(w, known->head, len))
		return 0;
	if (known->told.verdict == AX_VERDICT_DROPPED)
		return ax_known_denied(w, known);
	w->heads = 1;
	w->head_end = w->framed = len;
	w->refills = 1;
	w->policy = known->told.policy;
	w->rule = known->told.rule;
	w->verdict = known->told.verdict;
	ax_verdict_count(w->policy, w->verdict);
	known->told.number = w->number;
	w->told[w->number & (AX_TOLD - 1)] = known->told;
	ax_g_next(w);
	return 1;
}

/* Keeps the head in the window, which is padded and the packet's whole payload, for other connections. */
AX_GLOBAL int ax_known_keep(u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_known_key key;
	struct ax_known *known;
	u32 len;

	if (!w || lvl)
		return 0;
	ax_known_key_of(&key, w);
	len = key.len;
	if (len > AX_WINDOW)
		return 0;
	known = ax_known_place(w, &key, secret);
	if (!known)
		return 0;
	known->key = key;
	known->told = w->told[w->number & (AX_TOLD - 1)];
	ax_head_copy(known->head, w->win, len);
	return 0;
}

/* Keeps the packet's head, that has just been denied, if it is whole and alone. Where an empty line stands in front of it,
 * the method does not. */
static __always_inline void ax_known_keep_denied(struct ax_gw *w, u32 lvl, u64 secret)
{
	struct ax_told *told = &w->told[w->number & (AX_TOLD - 1)];

	if (w->reason != AX_DENY_RULE || w->heads != 1 || w->refills != 1 || w->head_end != w->end || w->end > AX_WINDOW ||
	    w->win[0] == '\r')
		return;
	ax_pad_head(w, w->end);
	told->policy = w->policy;
	told->verdict = AX_VERDICT_DROPPED;
	ax_known_keep(lvl, secret);
}

#endif

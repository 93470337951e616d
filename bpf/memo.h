/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * memo.h - the last head of a connection, as it came: what comes again is compared with it, and not read again.
 */
#ifndef AX_MEMO_H
#define AX_MEMO_H

#include "payload.h"

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

/* Is the head in the window, padded, the one that was kept? By blocks: the verifier goes on with each length that a loop may
 * end at. */
static __always_inline int ax_head_is(const struct ax_gw *w, const u8 *kept, u32 len)
{
	u64 differs = 0;

	AX_OPAQUE(len);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW; i += AX_BLOCK) {
		if (i >= len)
			break;
#pragma clang loop unroll(full)
		for (u32 k = 0; k < AX_BLOCK; k += 8)
			differs |= *(u64 *)(w->win + i + k) ^ *(u64 *)(kept + i + k);
	}
	return !differs;
}

/* Copies a padded head. */
static __always_inline void ax_head_copy(u8 *kept, const u8 *head, u32 len)
{
	AX_OPAQUE(len);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW; i += AX_BLOCK) {
		if (i >= len)
			break;
#pragma clang loop unroll(full)
		for (u32 k = 0; k < AX_BLOCK; k += 8)
			*(u64 *)(kept + i + k) = *(u64 *)(head + i + k);
	}
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
	return ax_head_is(w, g->memo, len) ? AX_DO_PASS : AX_DO_RESET;
}

/* The last head again, alone in its packet: what was judged then holds. */
static __always_inline int ax_gate_repeats(struct __sk_buff *skb, struct ax_gw *w, const struct ax_gate *g)
{
	u32 len = w->end;

	if (g->s.r.phase != AX_G_START || len != g->s.memo_len || len > AX_WINDOW || !len || w->seq != g->s.next ||
	    g->s.serial != w->set.serial || g->s.memo.verdict == AX_VERDICT_NONE)
		return 0;
	return !ax_load_head(skb, w, 0, len) && ax_head_is(w, g->memo, len);
}

/* Counts the memo's request once more, at the place that it came again in. */
static __always_inline void ax_memo_again(struct ax_gate *g, const struct ax_gw *w)
{
	struct ax_gate_state *s = &g->s;
	u32 end = w->seq + w->end;

	s->open = 1;
	s->memo_seq = w->seq;
	s->heads = end;
	s->memo.number = s->n;
	g->told[s->n & (AX_TOLD - 1)] = s->memo;
	s->n++;
	s->next = end;
	ax_verdict_count(s->memo.policy, s->memo.verdict);
}

/* Keeps the head in the window, if it is the packet's only one and begins it; it has been judged. */
static __always_inline void ax_memo_keep(struct ax_gate_state *s, u8 *memo, struct ax_gw *w)
{
	u32 len = w->head_end;

	s->memo_len = 0;
	if (w->heads != 1 || w->refills != 1 || len > AX_WINDOW)
		return;
	s->memo_len = len;
	ax_pad_head(w, len);
	ax_head_copy(memo, w->win, len);
	s->memo_seq = w->seq;
	s->memo = w->told[s->n & (AX_TOLD - 1)];
	/* a body, or an upgrade, does not follow from the bytes alone */
	if (w->r.phase != AX_G_START || w->head_end != w->end)
		s->memo.verdict = AX_VERDICT_NONE;
	/* a denial that mode audit has let by is none to be let by again, should the mode be enforce by then */
	if (w->soft && w->set.flags & AX_POL_ENFORCE && w->told[s->n & (AX_TOLD - 1)].verdict != AX_VERDICT_FORWARDED) {
		s->memo.verdict = AX_VERDICT_NONE;
		s->memo_len = 0;
	}
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * payload.h - a packet's payload as a piece of its connection's requests: read and judged, with the texts of a head that
 * goes on in the next packet.
 */
#ifndef AX_PAYLOAD_H
#define AX_PAYLOAD_H

#include "strict.h"

AX_SK_MAP(ax_gate_texts, struct ax_texts, 0);

/* Keeps, or brings back, the texts of a head that goes on in the next packet. */
static __always_inline void ax_texts_move(struct ax_texts *to, const struct ax_texts *from)
{
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < sizeof(struct ax_texts) / 8; i++)
		((u64 *)to)[i] = ((const u64 *)from)[i];
}

static __always_inline int ax_texts_back(struct ax_gw *w, struct bpf_sock *sk)
{
	struct ax_texts *kept = bpf_sk_storage_get(&ax_gate_texts, sk, 0, 0);

	if (!kept) {
		w->reason = AX_DENY_MEMORY;
		return -1;
	}
	ax_texts_move(&w->t, kept);
	return 0;
}

static __always_inline int ax_texts_keep(struct ax_gw *w, struct bpf_sock *sk)
{
	struct ax_texts *kept = bpf_sk_storage_get(&ax_gate_texts, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!kept) {
		w->reason = AX_DENY_MEMORY;
		return -1;
	}
	ax_texts_move(kept, &w->t);
	return 0;
}

/* Is the phase within a head? Then its texts are kept for the next packet. */
static __always_inline int ax_in_head(u32 phase)
{
	return phase > AX_G_START_LF && phase <= AX_G_PREFACE;
}

/* What becomes of the packet at hand. */
enum ax_gate_do {
	AX_DO_PASS = 0,
	AX_DO_DROP,
	AX_DO_ANSWER,		/* a 403 */
	AX_DO_RESET,
	AX_DO_END,		/* reset the server's end alone, once more: the client has its answer */
	AX_DO_LISTENER,		/* its listener decides: it has no socket of its own yet */
	AX_DO_NONE,		/* nobody decides, unless its connection has been denied: whose its listener is, is not known yet */
	AX_DO_READ,		/* not decided: its payload has to be read */
	AX_DO_STRAY,		/* its listener knows of no such connection */
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

/* Decides what is still to come of a body as well. Returns how many bytes that is. */
static __always_inline u64 ax_gate_ahead(struct ax_gw *w)
{
	u64 ahead;

	if ((w->r.phase != AX_G_BODY && w->r.phase != AX_G_DATA) || !w->r.left)
		return 0;
	ahead = w->r.left > AX_G_AHEAD ? AX_G_AHEAD : w->r.left;
	w->r.left -= ahead;
	if (!w->r.left) {
		if (w->r.phase == AX_G_DATA)
			w->r.phase = AX_G_DATA_CR;
		else
			ax_g_next(w);
	}
	return ahead;
}

/* Which policy denies, if it is no rule of one that does not allow. */
static __always_inline void ax_gate_blame(struct ax_gw *w)
{
	if (w->reason != AX_DENY_RULE)
		w->policy = w->set.flags & AX_POL_ENFORCE ? w->set.deny : w->set.audit;
}

/* May what is no HTTP pass? Then nothing is denied. */
static __always_inline int ax_gate_unread_by(struct ax_gw *w)
{
	if (w->reason != AX_DENY_NON_HTTP || !(w->set.flags & AX_POL_NON_HTTP))
		return 0;
	w->reason = 0;
	return 1;
}

/* Counts what would have been denied of a packet that is let by. */
static __always_inline void ax_gate_audited(const struct ax_gw *w)
{
	if (!w->reason || !w->soft)
		return;
	ax_deny_count(w->reason);
	/* what only a packet is dropped for is no request */
	if (w->reason < AX_DENY_RESENT)
		ax_verdict_count(w->policy, AX_VERDICT_AUDIT);
}

/* Is what is denied a request, and the first one of its packet? Others would be owed an answer before it. */
static __always_inline int ax_answerable(const struct ax_gw *w)
{
	return w->reason != AX_DENY_NON_HTTP && w->heads == (w->reason == AX_DENY_RULE);
}

#endif

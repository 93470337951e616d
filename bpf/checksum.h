/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* checksum.h - the Internet checksum (RFC 1071): is a segment as its sender sent it? TCP looks only behind the hook. */
#ifndef AX_CHECKSUM_H
#define AX_CHECKSUM_H

#include "bytes.h"

#define AX_SUMS 20	/* windows that are summed up: longer than a jumbo frame, and what is longer has been merged */

static __always_inline u16 ax_folded(u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The sum of `words` times eight bytes of the window. */
static __always_inline u64 ax_sum_words(struct ax_work *w, u32 from, u32 words)
{
	u64 sum = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < words; i++) {
		u64 word = *(u64 *)(w->win + AX_INDEX(from + i * 8, AX_WINDOW));

		sum += (u32)word;
		sum += word >> 32;
	}
	return sum;
}

/* The sum of what a window holds of the packet's last `n` bytes, which begin at `at`: on its own, so that the verifier walks
 * through it once. (The kernel's bpf_csum_diff is not for programs of this type.) */
AX_GLOBAL u32 ax_sum(struct __sk_buff *skb, u32 lvl, u32 at, u32 n)
{
	struct ax_work *w = ax_area(lvl);

	if (!w || !n)
		return 0;
	if (n > AX_WINDOW)
		n = AX_WINDOW;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW / 8; i++)
		*(u64 *)(w->win + i * 8) = 0;
	AX_OPAQUE(n);
	n = AX_SIZE(n, AX_WINDOW);
	AX_OPAQUE(n);
	if (bpf_skb_load_bytes(skb, at, w->win, n))
		return 0;
	return ax_folded(ax_sum_words(w, 0, AX_WINDOW / 8));
}

/*
 * 0: the packet's TCP checksum is wrong (RFC 9293 section 3.1), so TCP will discard it. A packet from this host, or one that
 * GRO has merged and checked, has only the pseudo-header's sum in that field. Uses the window.
 */
AX_GLOBAL int ax_is_whole(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	u32 at, left, v4;
	u64 sum;

	if (!w || bpf_skb_load_bytes(skb, 0, w->win, 40))
		return 1;
	v4 = w->win[0] >> 4 == 4;
	at = v4 ? (w->win[0] & 15) * 4 : 40;
	sum = v4 ? ax_sum_words(w, 12, 1) : ax_sum_words(w, 8, 4);
	left = w->base + w->end - at;
	if (left > AX_SUMS * AX_WINDOW)
		return 1;
	sum += bpf_htons(left) + bpf_htons(AX_IPPROTO_TCP);
	if (bpf_skb_load_bytes(skb, at + 16, w->win, 2) || *(u16 *)w->win == ax_folded(sum))
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_SUMS; i++) {
		if ((s32)left <= 0)
			break;
		sum += ax_sum(skb, lvl, at, left);
		at += AX_WINDOW;
		left -= AX_WINDOW;
	}
	return ax_folded(sum) == 0xffff;
}

#endif

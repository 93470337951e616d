/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * bytes.h - the window on a message: loading bytes, finding line ends by words, signatures.
 * The rest of the machine does not know whether bytes come from a packet or from kept pieces of one.
 */
#ifndef AX_BYTES_H
#define AX_BYTES_H

#include "maps.h"

#define AX_ONES 0x0101010101010101ULL
#define AX_HIGHS 0x8080808080808080ULL
#define AX_LFS 0x0a0a0a0a0a0a0a0aULL
#define AX_FNV 0x100000001b3ULL

/* Eight bytes at `at` in the window. The window is twice as long as what is ever valid in it. */
static __always_inline u64 ax_word(struct ax_work *w, u32 at)
{
	return *(u64 *)(w->win + AX_INDEX(at, AX_WINDOW));
}

/* Number of bytes below the lowest 0x80 in `t`, plus one; `t` has only 0x80 bits and is not 0. */
static __always_inline u32 ax_after(u64 t)
{
	u64 below = (t & -t) - 1;

	return ((below & AX_ONES) * AX_ONES) >> 56;
}

/* 0x80 in the bytes that equal LF: exact for the lowest, which is the one asked for. */
static __always_inline u64 ax_lfs(u64 word)
{
	u64 x = word ^ AX_LFS;

	return (x - AX_ONES) & ~x & AX_HIGHS;
}

/* Copies `n` bytes of the payload from `pos` to win[to]. 0, or -1. */
AX_GLOBAL int ax_load(struct __sk_buff *skb, u32 lvl, u32 pos, u32 to, u32 n)
{
	struct ax_work *w = ax_area(lvl);

	if (!w || !n || n > AX_WINDOW || to >= AX_WINDOW)
		return -1;
	to = AX_INDEX(to, AX_WINDOW);
	if (w->from_chunk) {
		pos = AX_INDEX(pos, AX_CHUNK);
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_WINDOW / 8; i++) {
			if (i * 8 >= n)
				break;
			*(u64 *)(w->win + to + i * 8) = *(u64 *)(w->chunk.data + pos + i * 8);
		}
		return 0;
	}
	AX_OPAQUE(n);
	n = AX_SIZE(n, AX_WINDOW);
	AX_OPAQUE(n);
	if (bpf_skb_load_bytes(skb, w->base + pos, w->win + to, n)) {
		ax_count(AX_LOST_LOAD);
		return -1;
	}
	return 0;
}

/* Makes the window begin at the current position (or at the carried line that goes on there). */
static __always_inline int ax_fill(struct __sk_buff *skb, u32 lvl, struct ax_work *w)
{
	s32 pos = w->pos, left = w->end - pos;

	if (left <= 0)
		return -1;
	if (left > AX_WINDOW)
		left = AX_WINDOW;
	w->wbase = pos;
	w->wlen = left;
	return ax_load(skb, lvl, pos, 0, left);
}

/* Index in the window of the first LF at or behind `from`, or -1. */
AX_GLOBAL int ax_find_lf(u32 lvl, u32 from)
{
	struct ax_work *w = ax_area(lvl);
	u32 at = from, len;

	if (!w)
		return -1;
	len = w->wlen;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_WINDOW / 8 + 1; i++) {
		u64 t;

		if (at >= len || at >= AX_WINDOW)
			return -1;
		t = ax_lfs(ax_word(w, at));
		if (t) {
			at += ax_after(t) - 1;
			return at < len ? (int)at : -1;
		}
		at += 8;
	}
	return -1;
}

/* Lower-case letters; turns some other bytes into others as well, which the comparisons allow for. */
#define AX_LOWER 0x2020202020202020ULL

#define AX_W8(a, b, c, d, e, f, g, h)						\
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 |		\
	 (u64)(e) << 32 | (u64)(f) << 40 | (u64)(g) << 48 | (u64)(h) << 56)
#define AX_W_CONTENT (AX_W8('c', 'o', 'n', 't', 'e', 'n', 't', '-') | AX_LOWER)
#define AX_W_LENGTH (AX_W8('l', 'e', 'n', 'g', 't', 'h', ':', 0) | (AX_LOWER >> 8))
#define AX_W_TRANSFER (AX_W8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') | AX_LOWER)
#define AX_W_ENCODING (AX_W8('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n') | AX_LOWER)
#define AX_W_HOST (AX_W8('h', 'o', 's', 't', ':', 0, 0, 0) | (AX_LOWER >> 24))

/* Does a line beginning with this word have to be looked at: the end of the head, a fold, a field that matters? */
static __always_inline int ax_matters(u64 word)
{
	u8 c = word;
	u64 low;

	if (c <= ' ')
		return 1;
	c |= 0x20;
	if (c != 'c' && c != 't' && c != 'h')
		return 0;
	low = word | AX_LOWER;
	return low == AX_W_CONTENT || low == AX_W_TRANSFER || (low << 24) == (AX_W_HOST << 24);
}

/* From a line's beginning, passes over whole lines that do not matter. Returns the index of the first that
 * may matter, or of the line that does not end in the window. */
AX_GLOBAL int ax_skim(u32 lvl, u32 from)
{
	struct ax_work *w = ax_area(lvl);
	u32 line = from, at = from, len;
	u64 word;

	if (!w)
		return -1;
	len = w->wlen;
	if (at >= AX_WINDOW || ax_matters(ax_word(w, at)))
		return from;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_WINDOW / 4; i++) {
		u64 t;

		if (at >= len || at >= AX_WINDOW)
			return line;
		t = ax_lfs(ax_word(w, at));
		if (!t) {
			at += 8;
			continue;
		}
		at += ax_after(t);
		if (at > len)
			return line;
		line = at;
		if (at >= len || at >= AX_WINDOW)
			return line;
		word = ax_word(w, at);
		if (ax_matters(word))
			return line;
	}
	return line;
}

/* Keyed signature of win[0..n). Two lanes, so that the multiplications overlap. */
static __always_inline u64 ax_signature(struct ax_work *w, u32 n, u64 key)
{
	u64 a = key, b = ~key, last;
	u32 at = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_WINDOW / 16; i++) {
		if (at + 16 > n)
			break;
		a = (a ^ *(u64 *)(w->win + i * 16)) * 0x9fb21c651e98df25ULL;
		b = (b ^ *(u64 *)(w->win + i * 16 + 8)) * 0xc2b2ae3d27d4eb4fULL;
		a ^= a >> 32;
		b ^= b >> 29;
		at += 16;
	}
	if (at + 8 <= n) {
		a = (a ^ ax_word(w, at)) * 0x9fb21c651e98df25ULL;
		a ^= a >> 32;
		at += 8;
	}
	if (at < n) {
		last = ax_word(w, at) & ((1ULL << ((n - at) & 7) * 8) - 1);
		b = (b ^ last) * 0xc2b2ae3d27d4eb4fULL;
		b ^= b >> 29;
	}
	a = (a ^ (b << 31 | b >> 33) ^ n) * 0x9fb21c651e98df25ULL;
	return a ^ a >> 29;
}

AX_GLOBAL u64 ax_sign(u32 lvl, u32 n, u64 key)
{
	struct ax_work *w = ax_area(lvl);

	if (!w || n > AX_WINDOW)
		return 0;
	return ax_signature(w, n, key);
}

#endif

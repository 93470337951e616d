/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * route.h - from a path to a route: the user's and learned patterns first (bit vectors by segment),
 * then the normaliser, which collapses what looks like an identifier.
 */
#ifndef AX_ROUTE_H
#define AX_ROUTE_H

#include "bytes.h"

/* A segment's bytes are counted by class, each count in a byte lane of one word: lanes saturate never,
 * because a path that is looked at has at most 256 bytes and a lane that would overflow (256 equal
 * ones in one segment) only mistakes one identifier for another. */
#define AX_CL_DIGIT (1ULL)
#define AX_CL_HEX (1ULL << 8)		/* a..f, A..F */
#define AX_CL_LOWER (1ULL << 16)	/* other lower-case letters */
#define AX_CL_UPPER (1ULL << 24)	/* other upper-case letters */
#define AX_CL_DASH (1ULL << 32)
#define AX_CL_UNDER (1ULL << 40)
#define AX_CL_DOT (1ULL << 48)
#define AX_CL_OTHER (1ULL << 56)

/* By table: as branches the verifier would follow each of them at every byte. */
#define D AX_CL_DIGIT
#define H AX_CL_HEX
#define L AX_CL_LOWER
#define U AX_CL_UPPER
#define M AX_CL_DASH
#define S AX_CL_UNDER
#define P AX_CL_DOT
#define O AX_CL_OTHER
static const u64 ax_class[256] = {
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, M, P, O,
	D, D, D, D, D, D, D, D, D, D, O, O, O, O, O, O,
	O, H, H, H, H, H, H, U, U, U, U, U, U, U, U, U,
	U, U, U, U, U, U, U, U, U, U, U, O, O, O, O, S,
	O, H, H, H, H, H, H, L, L, L, L, L, L, L, L, L,
	L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
};
#undef D
#undef H
#undef L
#undef U
#undef M
#undef S
#undef P
#undef O

#define AX_LANE(x, i) ((u32)((x) >> (8 * (i))) & 0xff)

enum ax_token { AX_T_LITERAL, AX_T_ID, AX_T_UUID, AX_T_HEX, AX_T_TOKEN };

/*
 * What a segment of `len` bytes with these counts is.
 *   {id}     only digits, perhaps with a dash
 *   {uuid}   36 bytes: 32 hexadecimal and four dashes (RFC 9562 section 4)
 *   {hex}    at least 8 hexadecimal, letters and digits
 *   {token}  at least 16 of letters, digits, '-', '_', '.', with at least 4 digits and 4 letters
 */
static __always_inline int ax_token_of(u64 cls, u32 len)
{
	u32 digit = AX_LANE(cls, 0), hex = AX_LANE(cls, 1);
	u32 letters = hex + AX_LANE(cls, 2) + AX_LANE(cls, 3);
	u32 dash = AX_LANE(cls, 4);

	if (!digit)
		return AX_T_LITERAL;
	if (digit == len || (digit + 1 == len && dash == 1))
		return AX_T_ID;
	if (len == 36 && digit + hex == 32 && dash == 4)
		return AX_T_UUID;
	if (digit + hex == len && len >= 8)
		return AX_T_HEX;
	if (len >= 16 && digit >= 4 && letters >= 4 && !AX_LANE(cls, 7))
		return AX_T_TOKEN;
	return AX_T_LITERAL;
}

/* A segment of the path has ended at win[to]: appends it to the template, narrows the patterns. */
AX_GLOBAL int ax_segment(u32 lvl, u32 to)
{
	struct ax_work *w = ax_area(lvl);
	u32 from, len, tlen, depth;
	u64 text = 0;
	u32 text_len = 0;

	if (!w)
		return -1;
	from = w->seg_from;
	depth = w->depth;
	len = to - from;
	tlen = w->tlen;
	if (from >= AX_WINDOW || len > AX_PATH)
		return -1;
	from = AX_INDEX(from, AX_WINDOW);
	if (w->rt && depth < AX_RT_DEPTH) {
		struct ax_rt_key k = { .hash = w->seg_hash ^ w->seg_hash >> 32, .depth = depth, .set = w->rt - 1 };
		struct ax_rt_bits *lit = bpf_map_lookup_elem(&ax_rt_seg, &k);
		u32 si = w->rt - 1;
		struct ax_rt_set *set = bpf_map_lookup_elem(&ax_rt_set, &si);

		if (!set)
			return -1;
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_RT_WORDS; i++) {
			u64 b = len ? set->wild[AX_INDEX(depth, AX_RT_DEPTH)][i] : 0;	/* a wildcard is never empty */

			if (lit)
				b |= lit->word[i];
			w->bits[i] &= b;
		}
	}
	if (tlen >= AX_PATH) {	/* the template has no room, but a pattern may match */
		w->tlen = AX_PATH + 1;
		w->depth = depth + 1;
		return 0;
	}
	tlen = AX_INDEX(tlen, AX_PATH);
	switch (ax_token_of(w->seg_class, len)) {
	case AX_T_ID:
		text = AX_W8('{', 'i', 'd', '}', 0, 0, 0, 0);
		text_len = 4;
		break;
	case AX_T_UUID:
		text = AX_W8('{', 'u', 'u', 'i', 'd', '}', 0, 0);
		text_len = 6;
		break;
	case AX_T_HEX:
		text = AX_W8('{', 'h', 'e', 'x', '}', 0, 0, 0);
		text_len = 5;
		break;
	case AX_T_TOKEN:
		text = AX_W8('{', 't', 'o', 'k', 'e', 'n', '}', 0);
		text_len = 7;
		break;
	}
	w->tmpl.text[tlen] = '/';
	tlen++;
	if (text_len) {
		*(u64 *)(w->tmpl.text + AX_INDEX(tlen, 2 * AX_PATH)) = text;
		tlen += text_len;
	} else {
		u8 *out = w->tmpl.text + AX_INDEX(tlen, 2 * AX_PATH);

#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_PATH / 8; i++) {
			if (i * 8 >= len)
				break;
			*(u64 *)(out + i * 8) = *(u64 *)(w->win + from + i * 8);
		}
		tlen += len;
	}
	if (tlen > AX_PATH)
		tlen = AX_PATH;
	w->tlen = tlen;
	w->depth = depth + 1;
	return 0;
}

/* Walks the path at win[path_from], at most path_len bytes: cuts the query, builds the template. */
static __always_inline int ax_walk(u32 lvl, struct ax_work *w, u64 secret)
{
	u64 hash = secret, cls = 0;
	u32 from, n;

	from = w->path_from;
	n = w->path_len;
	if (from >= AX_WINDOW)
		return -1;
	from = AX_INDEX(from, AX_WINDOW);
	w->seg_from = from + 1;
	w->depth = 0;
	w->tlen = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 1; i <= AX_PATH; i++) {
		u8 c;

		if (i >= n)
			break;
		c = w->win[from + i];
		if (c == '?' || c == '#') {
			n = w->path_len = i;
			break;
		}
		if (i == AX_PATH) {	/* longer than what is kept: its beginning stands for it */
			n = i;
			break;
		}
		if (c == '/') {
			w->seg_hash = hash;
			w->seg_class = cls;
			if (ax_segment(lvl, from + i))
				return -1;
			w->seg_from = from + i + 1;
			hash = secret;
			cls = 0;
			continue;
		}
		cls += ax_class[c];
		hash = (hash ^ c) * AX_FNV;
	}
	w->seg_hash = hash;
	w->seg_class = cls;
	return ax_segment(lvl, from + n);
}

/* Keyed signature of the template; zeroes its last partial word on the way. */
AX_GLOBAL u64 ax_sign_template(u32 lvl, u64 key)
{
	struct ax_work *w = ax_area(lvl);
	u64 a = key;
	u32 n;

	if (!w)
		return 0;
	n = w->tlen;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_PATH / 8; i++) {
		u64 word;

		if (i * 8 >= n) {
			*(u64 *)(w->tmpl.text + i * 8) = 0;
			continue;
		}
		word = *(u64 *)(w->tmpl.text + i * 8);
		if (n - i * 8 < 8) {
			word &= (1ULL << ((n - i * 8) & 7) * 8) - 1;
			*(u64 *)(w->tmpl.text + i * 8) = word;
		}
		a = (a ^ word) * 0x9fb21c651e98df25ULL;
		a ^= a >> 32;
	}
	a = (a ^ n) * 0xc2b2ae3d27d4eb4fULL;
	return a ^ a >> 29;
}

/* The first pattern left after the walk: its route, or 0. */
AX_GLOBAL u64 ax_first_pattern(u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_rt_set *set;
	u32 si, depth;

	if (!w || !w->rt)
		return 0;
	si = w->rt - 1;
	depth = w->depth;
	if (depth > AX_RT_DEPTH)
		depth = AX_RT_DEPTH;
	set = bpf_map_lookup_elem(&ax_rt_set, &si);
	if (!set)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_RT_WORDS; i++) {
		u64 b = w->bits[i] & set->len[depth > AX_RT_DEPTH - 1 ? AX_RT_DEPTH : AX_INDEX(depth, AX_RT_DEPTH)][i];
		u32 bit = 0;

		if (!b)
			continue;
		b &= -b;
		bit += !!(b & 0xffffffff00000000ULL) << 5;
		bit += !!(b & 0xffff0000ffff0000ULL) << 4;
		bit += !!(b & 0xff00ff00ff00ff00ULL) << 3;
		bit += !!(b & 0xf0f0f0f0f0f0f0f0ULL) << 2;
		bit += !!(b & 0xccccccccccccccccULL) << 1;
		bit += !!(b & 0xaaaaaaaaaaaaaaaaULL);
		return set->route[(i * 64 + bit) & (64 * AX_RT_WORDS - 1)];
	}
	return 0;
}

/*
 * The route of the path at win[path_from], path_len bytes that begin with '/' and may hold a query
 * (cut here: path_len is then the path's own). Tells user space of a template it has not seen.
 */
AX_GLOBAL u64 ax_route_of(u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	struct ax_ctl *ctl = ax_control();
	u32 set_index;
	struct ax_rt_set *set;
	u64 id;

	if (!w || !ctl)
		return AX_ROUTE_OTHER;
	w->rt = 0;
	/* read before the table's number: a switch in between makes the memo stale, not wrong */
	w->serial = *(volatile u32 *)&ctl->route_serial;
	set_index = *(volatile u32 *)&ctl->route_set & (AX_RT_SETS - 1);
	set = bpf_map_lookup_elem(&ax_rt_set, &set_index);
	if (set && set->words) {
		w->rt = set_index + 1;
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < AX_RT_WORDS; i++)
			w->bits[i] = ~0ULL;
	}
	if (ax_walk(lvl, w, ctl->secret))
		return AX_ROUTE_OTHER;
	if (w->rt) {
		id = ax_first_pattern(lvl);
		if (id)
			return id;
	}
	ctl = ax_control();	/* again: a pointer kept over the walk is stack that eight frames do not have */
	if (!ctl)
		return AX_ROUTE_OTHER;
	if (w->tlen > AX_PATH)
		return AX_ROUTE_OTHER;
	id = ax_sign_template(lvl, ctl->secret);
	if (id <= AX_ROUTE_NONE)
		id = 2;
	if (bpf_map_lookup_elem(&ax_routes, &id))
		return id;
	w->tmpl.len = w->tlen;
	w->tmpl.truncated = w->path_len > AX_PATH;
	w->tmpl.pattern = 0;
	w->tmpl.set = ctl->route_serial;
	w->tmpl.created = ax_now(w);
	if (bpf_map_update_elem(&ax_routes, &id, &w->tmpl, BPF_ANY)) {
		ax_count(AX_INFO_ROUTES_FULL);
		return AX_ROUTE_OTHER;
	}
	return id;
}

#endif

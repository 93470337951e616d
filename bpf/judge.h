/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * judge.h - which rule allows a request: the intersection of the bitmaps that its caller, method, host, port and path
 * select in its workload's set. See axon_policy.h for the tables.
 */
#ifndef AX_JUDGE_H
#define AX_JUDGE_H

#include "area.h"

#define AX_J_DIMS 40		/* length, caller, method, host, port, and AX_POL_DEPTH segments */

static __always_inline u32 ax_ones(u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

/* The number of the lowest bit; `x` is not 0. */
static __always_inline u32 ax_lowest(u64 x)
{
	return ax_ones((x & -x) - 1);
}

/* Word `n` of the bitmap at a cell. */
static __always_inline u64 ax_word_of(u32 bits, u32 n)
{
	u32 group = n >> 6 & (AX_POL_GROUPS - 1), before = 0;
	u64 sum = 0, bit = 1ULL << (n & 63);

	if (!bits)
		return 0;
	sum = ax_cell_at(bits + group);
	if (!(sum & bit))
		return 0;
	before = ax_ones(sum & (bit - 1));
	/* no loop: the compiler would end it at `group`, of which the verifier of 5.10 does not know that it is below 4 */
	if (group > 0)
		before += ax_ones(ax_cell_at(bits));
	if (group > 1)
		before += ax_ones(ax_cell_at(bits + 1));
	if (group > 2)
		before += ax_ones(ax_cell_at(bits + 2));
	return ax_cell_at(bits + AX_POL_GROUPS + before);
}

/* The intersection of the request's bitmaps in summary `group`. */
AX_GLOBAL u64 ax_common_words(u32 lvl, u32 group)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u64 all = ~0ULL;
	u32 dims;

	if (!w)
		return 0;
	dims = w->dims;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_J_DIMS; i++) {
		u64 some = 0;

		if (i >= dims || !all)
			break;
		if (w->dim[i][0])
			some = ax_cell_at(w->dim[i][0] + group);
		if (w->dim[i][1])
			some |= ax_cell_at(w->dim[i][1] + group);
		all &= some;
	}
	return all;
}

/* Word `n` of what is selected in dimension `i`. */
AX_GLOBAL u64 ax_dim_word(u32 lvl, u32 i, u32 n)
{
	struct ax_gw *w = ax_gate_area(lvl);

	if (!w || i >= AX_J_DIMS)
		return 0;
	return ax_word_of(w->dim[AX_INDEX(i, AX_DIMS)][0], n) | ax_word_of(w->dim[AX_INDEX(i, AX_DIMS)][1], n);
}

/* The intersection of the request's bitmaps in word `n`. */
static __always_inline u64 ax_common_rules(u32 lvl, u32 dims, u32 n)
{
	u64 all = ~0ULL;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_J_DIMS; i++) {
		if (i >= dims || !all)
			break;
		all &= ax_dim_word(lvl, i, n);
	}
	return all;
}

#define AX_J_FOUND (1U << 31)

/* The first rule at or above `from` that every bitmap has, and AX_J_FOUND; or from where to look on. */
AX_GLOBAL u32 ax_find_rule(u32 lvl, u32 from)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 group = from >> 12, word = from >> 6 & 63, at;
	u64 words, rules;

	if (!w)
		return AX_POL_RULES;
	words = ax_common_words(lvl, group) & (~0ULL << word);
	if (!words)
		return (group + 1) << 12;
	at = ax_lowest(words);
	rules = ax_common_rules(lvl, w->dims, group << 6 | at);
	if (at == word)
		rules &= ~0ULL << (from & 63);
	at = (group << 6 | at) << 6;
	return rules ? (at + ax_lowest(rules)) | AX_J_FOUND : at + 64;
}

static __always_inline u64 ax_hash_byte(u64 h, u8 c)
{
	return (h ^ c) * AX_FNV;
}

/* Is w->text the text of `len` bytes at a cell? */
AX_GLOBAL int ax_text_is(u32 lvl, u32 cell, u32 len)
{
	struct ax_gw *w = ax_gate_area(lvl);

	if (!w)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 k = 0; k < AX_POL_TEXT / 8; k++) {
		u64 word;

		if (k * 8 >= len)
			break;
		word = *(u64 *)(w->text + k * 8);
		if (len - k * 8 < 8)
			word &= (1ULL << ((len - k * 8) & 7) * 8) - 1;
		if (word != ax_cell_at(cell + k))
			return 0;
	}
	return 1;
}

/* The bitmap of w->text under (kind, sub), or 0. `hash` is the text's. */
AX_GLOBAL u32 ax_pol_lookup(u32 lvl, u32 kind, u32 sub, u64 hash)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 len, record = 0;
	u64 want;

	if (!w)
		return 0;
	len = w->text_len;
	if (len > AX_POL_TEXT)
		return 0;
	hash ^= (u64)(kind << 8 | sub) * 0x9fb21c651e98df25ULL;
	hash ^= hash >> 32;
	want = (u64)len << 32 | (u64)kind << 48 | (u64)sub << 56;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_PROBES; i++) {
		u32 cell = w->set.table + (((u32)hash + i) & w->set.mask) * 2;

		record = ax_cell_at(cell + 1);
		if (!record)
			return 0;
		if (ax_cell_at(cell) != hash || (ax_cell_at(record) & ~0xffffffffULL) != want)
			continue;
		if (ax_text_is(lvl, record + 1, len))
			return ax_cell_at(record);
	}
	return 0;
}

static __always_inline u32 ax_pol_number(u32 lvl, struct ax_gw *w, u64 secret, u32 kind, u32 n)
{
	u64 h = secret;

	*(u64 *)w->text = n;
	w->text_len = 4;
	h = ax_hash_byte(h, n);
	h = ax_hash_byte(h, n >> 8);
	h = ax_hash_byte(h, n >> 16);
	h = ax_hash_byte(h, n >> 24);
	return ax_pol_lookup(lvl, kind, 0, h);
}

/* Puts w->t.path[from .. from + len) where a key is looked up from. */
AX_GLOBAL int ax_text_of_path(u32 lvl, u32 from, u32 len)
{
	struct ax_gw *w = ax_gate_area(lvl);

	if (!w || from >= AX_POL_PATH || len > AX_POL_TEXT)
		return -1;
	from = AX_INDEX(from, AX_POL_PATH);
	w->text_len = len;
	AX_OPAQUE(len);
#pragma clang loop unroll(disable)
	for (u32 k = 0; k < AX_POL_TEXT / 8; k++) {
		if (k * 8 >= len)
			break;
		*(u64 *)(w->text + k * 8) = *(u64 *)(w->t.path + from + k * 8);
	}
	return 0;
}

/* The bitmap of the request's method. */
AX_GLOBAL u32 ax_method_bits(u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 len, bits;
	u64 h = secret;

	if (!w)
		return 0;
	len = w->r.method_len;
	w->text_len = len;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 32; i++) {
		u8 c;

		if (i >= len)
			break;
		c = w->t.method[i];
		w->text[i] = c;
		h = ax_hash_byte(h, c);
	}
	bits = ax_pol_lookup(lvl, AX_POL_KIND_METHOD, 0, h);
	return bits ? bits : w->set.any_method;
}

/* Which rules allow the host, in w->dim: its own bitmap, or that of the longest of its tails. w->t.host is in lower case
 * and without a port. */
AX_GLOBAL int ax_host_bits(u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u64 h = secret;
	u32 len, bits;

	if (!w)
		return 0;
	len = w->r.host_len;
	w->text_len = len;
	AX_OPAQUE(len);	/* or the compiler ends the loops by it alone, and 5.10 forgets its bound on the stack */
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_TEXT; i++) {
		u8 c;

		if (i >= len)
			break;
		c = w->t.host[i];
		w->text[i] = c;
		h = ax_hash_byte(h, c);
	}
	ax_barrier();
	len = w->r.host_len;
	AX_OPAQUE(len);	/* read anew: the verifier would go on with each length that the loop can end at */
	w->dim[3][1] = 0;
	w->dim[3][0] = len ? ax_pol_lookup(lvl, AX_POL_KIND_HOST, 0, h) : 0;
	if (w->dim[3][0])
		return 0;
	w->dim[3][0] = w->set.any_host;
	if (!(w->set.flags & AX_POL_HOST_TAILS))
		return 0;
	h = secret;
	/* from the last byte to the first; a whole host is no tail of itself */
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_TEXT; i++) {
		u8 c;

		if (i + 1 >= len)
			break;
		c = w->t.host[AX_INDEX(len - 1 - i, AX_POL_TEXT)];
		w->text[i] = c;
		h = ax_hash_byte(h, c);
		if (c != '.')
			continue;
		w->text_len = i + 1;
		bits = ax_pol_lookup(lvl, AX_POL_KIND_TAIL, 0, h);
		if (bits)
			w->dim[3][0] = bits;
	}
	return 0;
}

/* Do `len` bytes of the path from `from` on equal the text at a cell? */
AX_GLOBAL int ax_path_is(u32 lvl, u32 from, u32 len, u32 cell)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u64 x, differs = 0;

	if (!w || from >= AX_POL_PATH || len > AX_POL_TEXT)
		return 0;
	AX_OPAQUE(len);
#pragma clang loop unroll(disable)
	for (u32 k = 0; k < AX_POL_TEXT / 8; k++) {
		if (k * 8 >= len)
			break;
		x = *(u64 *)(w->t.path + AX_INDEX(from, AX_POL_PATH) + k * 8) ^ ax_cell_at(cell + k);
		if (len - k * 8 < 8)
			x &= (1ULL << ((len - k * 8) & 7) * 8) - 1;
		differs |= x;
	}
	return !differs;
}

/* Are all globs of rule `n` met? */
AX_GLOBAL int ax_globs(u32 lvl, u32 n)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 cell;

	if (!w)
		return 0;
	cell = ax_cell_at(w->set.rules + 2 * n) >> 32;
	if (!cell)
		return 1;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_DEPTH; i++) {
		u64 head = ax_cell_at(cell);
		u32 depth = head & 0xff, prefix = head >> 16 & 0xffff, suffix = head >> 32 & 0xffff, from, len;

		if (!head)
			break;
		if (depth >= AX_POL_DEPTH || depth >= w->r.depth)
			return 0;
		from = w->t.seg[AX_INDEX(depth, AX_POL_DEPTH)].from;
		len = w->t.seg[AX_INDEX(depth, AX_POL_DEPTH)].len;
		if (!len || len < prefix + suffix || !ax_path_is(lvl, from, prefix, cell + 1))
			return 0;
		cell += 1 + (prefix + 7) / 8;
		if (!ax_path_is(lvl, from + len - suffix, suffix, cell))
			return 0;
		cell += (suffix + 7) / 8;
		AX_OPAQUE(cell);
	}
	return 1;
}

/* The first rule at or above `from` that allows the request, or AX_POL_RULES. */
AX_GLOBAL u32 ax_allowing(u32 lvl, u32 from)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 n, count;

	if (!w)
		return AX_POL_RULES;
	count = w->set.count;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_RULES / 64 + AX_POL_GROUPS + AX_POL_GLOBS; i++) {
		if (from >= count || from >= AX_POL_RULES)
			break;
		n = ax_find_rule(lvl, from);
		from = n & ~AX_J_FOUND;
		if (n & AX_J_FOUND) {
			if (ax_globs(lvl, from))
				return from;
			from++;
		}
		AX_OPAQUE(from);
	}
	return AX_POL_RULES;
}

/* Begins w->dim with who asks, at which port. */
AX_GLOBAL int ax_dims_of_peer(u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 bits;

	if (!w)
		return -1;
	bits = w->ident >= AX_IDENT_FIRST ? ax_pol_number(lvl, w, secret, AX_POL_KIND_IDENT, w->ident) : 0;
	w->dim[0][0] = bits ? bits : w->set.any_from;
	w->dim[0][1] = w->block ? ax_pol_number(lvl, w, secret, AX_POL_KIND_BLOCK, w->block) : 0;
	bits = ax_pol_number(lvl, w, secret, AX_POL_KIND_PORT, w->lport);
	w->dim[1][0] = bits ? bits : w->set.any_port;
	w->dim[1][1] = 0;
	w->dims = 2;
	return 0;
}

/* May this caller's bytes pass unread: does a rule without httpRules allow it? 1 and the rule's numbers, or 0. */
AX_GLOBAL int ax_allowed_unread(u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 n;
	u64 rule;

	if (!w || !w->set.opaque)
		return 0;
	ax_dims_of_peer(lvl, secret);
	w->dim[2][0] = w->set.opaque;
	w->dim[2][1] = 0;
	w->dims = 3;
	n = ax_allowing(lvl, 0);
	if (n >= w->set.enforce)
		return 0;
	rule = ax_cell_at(w->set.rules + 2 * n);
	w->policy = rule & 0xffff;
	w->rule = rule >> 16 & 0xffff;
	return 1;
}

/* Judges the head that has been read: sets w->verdict, w->policy and w->rule. */
AX_GLOBAL int ax_judge(u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 depth, n, dims;
	u64 rule;

	if (!w)
		return -1;
	ax_dims_of_peer(lvl, secret);
	w->dim[2][0] = ax_method_bits(lvl, secret);
	w->dim[2][1] = 0;
	ax_host_bits(lvl, secret);
	depth = w->r.depth;
	if (depth > AX_POL_DEPTH)
		depth = AX_POL_DEPTH + 1;
	w->dim[4][0] = ax_cell_at(w->set.length + depth);
	w->dim[4][1] = 0;
	dims = 5;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_DEPTH; i++) {
		u32 k = AX_INDEX(dims, AX_DIMS);

		if (i >= depth || k >= AX_J_DIMS)
			break;
		w->dim[k][0] = w->t.seg[i].len ? ax_cell_at(w->set.wild + i) : 0;
		w->dim[k][1] = ax_text_of_path(lvl, w->t.seg[i].from, w->t.seg[i].len) ? 0 :
			ax_pol_lookup(lvl, AX_POL_KIND_SEGMENT, i, w->t.seg[i].hash);
		dims = k + 1;
	}
	w->dims = dims;
	n = ax_allowing(lvl, 0);
	w->verdict = AX_VERDICT_FORWARDED;
	if (w->set.flags & AX_POL_ENFORCE && n >= w->set.enforce) {
		w->verdict = AX_VERDICT_DROPPED;
		w->policy = w->set.deny;
		w->rule = 0xffff;
		return 0;
	}
	if (w->set.flags & AX_POL_AUDIT && n < w->set.enforce && w->set.flags & AX_POL_ENFORCE) {
		/* the audited judge for themselves; the name stays that of who has let it by */
		u32 audited = ax_allowing(lvl, w->set.enforce);

		if (audited >= AX_POL_RULES) {
			w->verdict = AX_VERDICT_AUDIT;
			w->policy = w->set.audit;
			w->rule = 0xffff;
			return 0;
		}
	} else if (n >= AX_POL_RULES) {
		w->verdict = AX_VERDICT_AUDIT;
		w->policy = w->set.audit;
		w->rule = 0xffff;
		return 0;
	}
	rule = ax_cell_at(w->set.rules + 2 * n);
	w->policy = rule & 0xffff;
	w->rule = rule >> 16 & 0xffff;
	return 0;
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* head.h - start lines and the header fields that framing needs (RFC 9112 sections 2 to 6). */
#ifndef AX_HEAD_H
#define AX_HEAD_H

#include "conn.h"
#include "route.h"

#define AX_W_HTTP1 AX_W8('H', 'T', 'T', 'P', '/', '1', '.', 0)
#define AX_W_HTTP2 AX_W8('H', 'T', 'T', 'P', '/', '2', '.', '0')
#define AX_W_HTTP AX_W8('h', 't', 't', 'p', ':', '/', '/', 0)
#define AX_W_HTTPS AX_W8('h', 't', 't', 'p', 's', ':', '/', '/')
#define AX_LOW(n) (~0ULL >> (64 - 8 * (n)))

enum ax_line_result {
	AX_L_OK = 0,
	AX_L_BAD = 1,
	AX_L_HTTP2 = 2,
	AX_L_BAD_LENGTH = 4,
	AX_L_LOST = 5,		/* out of memory */
};

/* Nothing more can be read of this connection. Whether that counts is decided when the packet has been read. */
static __always_inline int ax_give_up(struct ax_work *w, u32 why)
{
	w->why = why;
	w->kind = AX_KIND_BROKEN;
	return 1;
}

/* No more requests can be read. Responses that are still owed can be counted: only this direction is lost. */
static __always_inline int ax_end_requests(struct ax_work *w, u32 why)
{
	w->why = why;
	w->d.h.phase = AX_PH_DEAD;
	return 1;
}

static __always_inline int ax_bad_length(struct ax_work *w)
{
	return w->resp ? ax_give_up(w, AX_LOST_BAD_LENGTH) : ax_end_requests(w, AX_LOST_BAD_LENGTH);
}

/* tchar (RFC 9110 section 5.6.2) as a bit set over 0..127. */
static __always_inline int ax_tchar(u8 c)
{
	if (c < 64)
		return 0x03ff6cfa00000000ULL >> c & 1;
	return c < 128 && (0x57ffffffc7fffffeULL >> (c - 64) & 1);
}

/* Method of the request line at win[from]: method | length << 8, or -1. */
AX_GLOBAL int ax_method_of(u32 lvl, u32 from)
{
	struct ax_work *w = ax_area(lvl);
	u64 m;

	if (!w || from >= AX_WINDOW)
		return -1;
	from = AX_INDEX(from, AX_WINDOW);
	m = ax_word(w, from);
	if ((m & AX_LOW(4)) == AX_W8('G', 'E', 'T', ' ', 0, 0, 0, 0))
		return AX_METHOD_GET | 3 << 8;
	if ((m & AX_LOW(5)) == AX_W8('P', 'O', 'S', 'T', ' ', 0, 0, 0))
		return AX_METHOD_POST | 4 << 8;
	if ((m & AX_LOW(5)) == AX_W8('H', 'E', 'A', 'D', ' ', 0, 0, 0))
		return AX_METHOD_HEAD | 4 << 8;
	if ((m & AX_LOW(4)) == AX_W8('P', 'U', 'T', ' ', 0, 0, 0, 0))
		return AX_METHOD_PUT | 3 << 8;
	if ((m & AX_LOW(6)) == AX_W8('P', 'A', 'T', 'C', 'H', ' ', 0, 0))
		return AX_METHOD_PATCH | 5 << 8;
	if ((m & AX_LOW(7)) == AX_W8('D', 'E', 'L', 'E', 'T', 'E', ' ', 0))
		return AX_METHOD_DELETE | 6 << 8;
	if (m == AX_W8('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '))
		return AX_METHOD_OPTIONS | 7 << 8;
	if (m == AX_W8('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '))
		return AX_METHOD_CONNECT | 7 << 8;
	if ((m & AX_LOW(6)) == AX_W8('T', 'R', 'A', 'C', 'E', ' ', 0, 0))
		return AX_METHOD_TRACE | 5 << 8;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 32; i++) {
		u8 c = w->win[from + i];

		if (c == ' ')
			return i ? (int)(AX_METHOD_OTHER | i << 8) : -1;
		if (!ax_tchar(c))
			return -1;
	}
	return -1;
}

/* Keeps the request's path for flow records, without what stands behind it. */
AX_GLOBAL int ax_keep_path(struct __sk_buff *skb, u32 lvl, u32 cut)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_cold *cold;
	u32 from, n;

	if (!w || !sk)
		return -1;
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (!cold)
		return -1;
	from = AX_INDEX(w->path_from, AX_WINDOW);
	n = w->path_len;
	if (n > AX_PATH)
		n = AX_PATH;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_PATH / 8; i++) {
		u64 word;

		if (i * 8 >= n)
			break;
		word = *(u64 *)(w->win + from + i * 8);
		if (n - i * 8 < 8)
			word &= (1ULL << ((n - i * 8) & 7) * 8) - 1;
		*(u64 *)(cold->path + i * 8) = word;
	}
	cold->path_len = n;
	cold->path_cut = cut;
	cold->host_len = 0;
	return 0;
}

/* Where the path of an absolute-form target (RFC 9112 section 3.2.2) begins, or `to` if it has none. */
AX_GLOBAL int ax_after_authority(u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);

	if (!w || from >= AX_WINDOW)
		return -1;
	from = AX_INDEX(from, AX_WINDOW);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_WINDOW / 2; i++) {
		u8 c;

		if (from + i >= to)
			break;
		c = w->win[from + i];
		if (c == '/' || c == '?' || c == '#')
			return from + i;
	}
	return to;
}

enum ax_target_form {
	AX_T_NONE = 0,		/* "*" or an authority */
	AX_T_PATH = 1,
	AX_T_ROOT = 2,		/* an absolute form without a path: RFC 9112 section 3.2.1 makes it "/" */
};

/* The path of the target win[target..end), into w->path_from and w->path_len. enum ax_target_form. */
AX_GLOBAL int ax_target(u32 lvl, u32 target, u32 end)
{
	struct ax_work *w = ax_area(lvl);
	u64 scheme;
	u32 path;

	if (!w || target >= AX_WINDOW || end > AX_WINDOW || target >= end)
		return AX_T_NONE;
	target = AX_INDEX(target, AX_WINDOW);
	/* only what is known to be a path is kept: another form may hold a query or a user's name and password */
	w->path_from = target;
	w->path_len = w->win[target] == '*' && end - target == 1;
	if (w->win[target] == '/') {
		w->path_len = end - target;
		return AX_T_PATH;
	}
	scheme = ax_word(w, target) | AX_LOWER;
	if (end - target < 8 || ((scheme & AX_LOW(7)) != AX_W_HTTP && scheme != AX_W_HTTPS))
		return AX_T_NONE;
	path = ax_after_authority(lvl, target + (scheme == AX_W_HTTPS ? 8 : 7), end);
	if (path > end || path > AX_WINDOW)
		return AX_T_NONE;
	if (path < end && w->win[AX_INDEX(path, AX_WINDOW)] == '/') {
		w->path_from = path;
		w->path_len = end - path;
		return AX_T_PATH;
	}
	path = AX_INDEX(path - 1, AX_WINDOW);	/* the authority's last byte is spent */
	w->win[path] = '/';
	w->path_from = path;
	w->path_len = 1;
	return AX_T_ROOT;
}

/* Does win[..to) end in " HTTP/1.x"? enum ax_line_result; sets the version. */
AX_GLOBAL int ax_version_at(u32 lvl, u32 to)
{
	struct ax_work *w = ax_area(lvl);
	u64 v;
	u8 minor;

	if (!w || to < 9 || to > AX_WINDOW)
		return AX_L_BAD;
	to = AX_INDEX(to - 9, AX_WINDOW);
	if (w->win[to] != ' ')
		return AX_L_BAD;
	v = *(u64 *)(w->win + to + 1);
	if (v == AX_W_HTTP2)
		return AX_L_HTTP2;
	minor = v >> 56;
	if ((v & AX_LOW(7)) != AX_W_HTTP1 || (u8)(minor - '0') > 9)
		return AX_L_BAD;
	if (minor == '0')
		w->d.h.flags |= AX_D_HTTP10;
	return AX_L_OK;
}

/*
 * The request line win[from..to), its line end excluded. `cut`: the line goes on behind the window, its
 * version is looked at when its end is seen. Requests outstanding: `outstanding`.
 */
AX_GLOBAL int ax_request_line(struct __sk_buff *skb, u32 lvl, u32 from, u32 to, u32 cut_out)
{
	struct ax_work *w = ax_area(lvl);
	u32 cut = cut_out & 1, outstanding = cut_out >> 1;
	u32 target, end, mlen, before;
	u64 route = AX_ROUTE_NONE;
	int m, r;

	if (!w || from >= AX_WINDOW || to > AX_WINDOW || to < from)
		return AX_L_BAD;
	from = AX_INDEX(from, AX_WINDOW);
	m = ax_method_of(lvl, from);
	if (m < 0)
		return AX_L_BAD;
	mlen = (u32)m >> 8 & 31;
	w->d.r.method = m;
	target = from + mlen + 1;
	end = to;
	w->path_cut = 0;
	w->d.h.flags &= AX_D_ANY;
	if (!cut) {
		r = ax_version_at(lvl, to);
		if (r)
			return r;
		end = to - 9;
	}
	if (target >= end || target >= AX_WINDOW)
		return AX_L_BAD;
	target = AX_INDEX(target, AX_WINDOW);
	if (ax_introduce(skb, lvl))
		return AX_L_LOST;
	r = ax_target(lvl, target, end);
	if (r) {
		before = w->path_len;
		route = ax_route_of(lvl);
		if (w->path_len > AX_PATH || (cut && r == AX_T_PATH && w->path_len == before)) {
			if (w->path_len > AX_PATH)
				w->path_len = AX_PATH;
			w->path_cut = 1;
			ax_count(AX_INFO_TRUNCATED_PATH);
		}
	}
	if (!outstanding) {
		if (ax_keep_path(skb, lvl, w->path_cut))
			return AX_L_LOST;
		w->d.h.flags |= AX_D_TEXT;
	}
	w->d.r.route = route;
	w->d.r.left = 0;
	return AX_L_OK;
}

/* The status line win[from..to) (RFC 9112 section 4). */
AX_GLOBAL int ax_status_line(u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);
	u32 a, b, c;
	u64 v;

	if (!w || from >= AX_WINDOW || to < from + 12)
		return AX_L_BAD;
	from = AX_INDEX(from, AX_WINDOW);
	v = ax_word(w, from);
	if ((v & AX_LOW(7)) != AX_W_HTTP1 || (u8)((v >> 56) - '0') > 9 || w->win[from + 8] != ' ')
		return AX_L_BAD;
	a = (u32)w->win[from + 9] - '0';
	b = (u32)w->win[from + 10] - '0';
	c = (u32)w->win[from + 11] - '0';
	if (a > 9 || b > 9 || c > 9 || !a)
		return AX_L_BAD;
	if (to > from + 12 && w->win[from + 12] != ' ')
		return AX_L_BAD;
	w->d.h.flags &= AX_D_ANY;
	if ((u8)(v >> 56) == '0')
		w->d.h.flags |= AX_D_HTTP10;
	w->status = a * 100 + b * 10 + c;
	w->d.r.left = 0;
	return AX_L_OK;
}

/* Index of the first byte at or behind `from` that is no blank (RFC 9110 section 5.6.3), at most 16 on. */
AX_GLOBAL int ax_blanks(u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);

	if (!w)
		return to;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 16; i++) {
		u32 at = from + i;
		u8 c;

		if (at >= to || at >= AX_WINDOW)
			return to;
		c = w->win[AX_INDEX(at, AX_WINDOW)];
		if (c != ' ' && c != '\t')
			return at;
	}
	return from + 16;
}

/* Where win[from..to) ends without the blanks behind it, at most 16 of them. */
AX_GLOBAL int ax_trim(u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);

	if (!w)
		return to;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 16; i++) {
		u8 c;

		if (to <= from || to > AX_WINDOW)
			break;
		c = w->win[AX_INDEX(to - 1, AX_WINDOW)];
		if (c != ' ' && c != '\t')
			break;
		to--;
	}
	return to;
}

/* A Content-Length value win[from..to): 1*DIGIT between optional blanks. */
AX_GLOBAL int ax_length(u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);
	u64 n = 0;
	u32 at;

	if (!w || to > AX_WINDOW)
		return AX_L_BAD_LENGTH;
	from = ax_blanks(lvl, from, to);
	at = from;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 19; i++) {
		u8 c;

		if (at >= to)
			break;
		c = w->win[AX_INDEX(at, AX_WINDOW)] - '0';
		if (c > 9)
			break;
		n = n * 10 + c;
		at++;
	}
	if (at == from || at - from > 18 || (at < to && (u32)ax_blanks(lvl, at, to) != to))
		return AX_L_BAD_LENGTH;
	if ((w->d.h.flags & AX_D_LENGTH) && w->d.r.left != n)
		return AX_L_BAD_LENGTH;
	w->d.r.left = n;
	w->d.h.flags |= AX_D_LENGTH | AX_D_FRAMED;
	return AX_L_OK;
}

/* The last transfer coding of win[from..to) decides (RFC 9112 section 6.1). */
AX_GLOBAL int ax_coding(u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);
	u32 end;
	u64 v;

	if (!w || to > AX_WINDOW || from > to)
		return AX_L_BAD_LENGTH;
	end = ax_trim(lvl, from, to);
	w->d.h.flags |= AX_D_CODED | AX_D_FRAMED;
	w->d.h.flags &= ~AX_D_CHUNKED;
	if (end < from + 7 || end < 8 || end > AX_WINDOW)
		return AX_L_OK;
	v = ax_word(w, end - 8);
	if (((v >> 8) | (AX_LOWER >> 8)) == AX_W8('c', 'h', 'u', 'n', 'k', 'e', 'd', 0)) {
		u8 before = v;

		if (before == ' ' || before == '\t' || before == ',' || before == ':')
			w->d.h.flags |= AX_D_CHUNKED;
	}
	return AX_L_OK;
}

AX_GLOBAL int ax_keep_host(struct __sk_buff *skb, u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);
	struct bpf_sock *sk = ax_sock(skb);
	struct ax_cold *cold;
	u32 n;

	if (!w || !sk)
		return -1;
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (!cold)
		return -1;
	from = ax_blanks(lvl, from, to);
	n = ax_trim(lvl, from, to) - from;
	cold->host_cut = n > AX_HOST;
	if (n > AX_HOST)
		n = AX_HOST;
	if (from >= AX_WINDOW)
		return -1;
	from = AX_INDEX(from, AX_WINDOW);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_HOST / 8; i++) {
		u64 word;

		if (i * 8 >= n)
			break;
		word = *(u64 *)(w->win + from + i * 8);
		if (n - i * 8 < 8)
			word &= (1ULL << ((n - i * 8) & 7) * 8) - 1;
		*(u64 *)(cold->host + i * 8) = word;
	}
	cold->host_len = n;
	return 0;
}

/* The header field line that a step has found; if it is cut it goes on behind the window. 0: go on. */
AX_GLOBAL int ax_field(struct __sk_buff *skb, u32 lvl)
{
	struct ax_work *w = ax_area(lvl);
	u64 word, low, next;
	u32 from, to;
	int r = AX_L_OK;
	u8 c;

	if (!w)
		return 1;
	from = w->line_from;
	to = w->line_to;
	if (from >= AX_WINDOW || to > AX_WINDOW || to <= from)
		return 1;
	word = ax_word(w, from);
	c = word;
	low = word | AX_LOWER;
	next = ax_word(w, from + 8) | AX_LOWER;
	if (c == ' ' || c == '\t') {	/* obs-fold (RFC 9112 section 5.2): of a framing field it is refused */
		if (w->d.h.flags & AX_D_FRAMED)
			r = AX_L_BAD_LENGTH;
	} else {
		w->d.h.flags &= ~AX_D_FRAMED;
		if (low == AX_W_CONTENT && to - from >= 15 && (next & AX_LOW(7)) == AX_W_LENGTH)
			r = w->cut ? AX_L_BAD_LENGTH : ax_length(lvl, from + 15, to);
		else if (low == AX_W_TRANSFER && to - from >= 18 && next == AX_W_ENCODING &&
			 (w->win[AX_INDEX(from, AX_WINDOW) + 16] | 0x20) == 'g' &&
			 w->win[AX_INDEX(from, AX_WINDOW) + 17] == ':')
			r = w->cut ? AX_L_BAD_LENGTH : ax_coding(lvl, from + 17, to);
		else if ((low & AX_LOW(5)) == AX_W_HOST && to - from >= 5 && !w->resp && (w->d.h.flags & AX_D_TEXT))
			ax_keep_host(skb, lvl, from + 5, to);
	}
	if (r)
		return ax_bad_length(w);
	if (w->cut)
		w->d.h.flags |= AX_D_LONG;
	return 0;
}

/* The size of a chunk, line win[from..to): 1*HEXDIG, then blanks or an extension (RFC 9112 section 7.1). */
AX_GLOBAL int ax_chunk_size(u32 lvl, u32 from, u32 to)
{
	struct ax_work *w = ax_area(lvl);
	u64 n = 0;
	u32 at;

	if (!w || from >= AX_WINDOW)
		return AX_L_BAD;
	at = from;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 16; i++) {
		u8 c, v;

		if (at >= to)
			break;
		c = w->win[AX_INDEX(at, AX_WINDOW)];
		v = c - '0';
		if (v > 9) {
			v = (c | 0x20) - 'a' + 10;
			if ((u8)((c | 0x20) - 'a') > 5) {
				if (c == ';' || c == ' ' || c == '\t')
					break;
				return AX_L_BAD;
			}
		}
		n = n << 4 | v;
		at++;
	}
	if (at == from || n >> 60)
		return AX_L_BAD;
	if (at < to && at == from + 16) {	/* the loop has not seen what stands behind the last digit */
		u8 c = w->win[AX_INDEX(at, AX_WINDOW)];

		if (c != ';' && c != ' ' && c != '\t')
			return AX_L_BAD;
	}
	w->d.r.left = n;
	return AX_L_OK;
}

#endif

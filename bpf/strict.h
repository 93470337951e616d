/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * strict.h - requests as they must be written to be judged (RFC 9110, 9112): what two readers could understand
 * differently is denied. Resumable at every byte: a head may come in any number of packets.
 */
#ifndef AX_STRICT_H
#define AX_STRICT_H

#include "bytes.h"
#include "head.h"
#include "judge.h"

#define AX_G_HEAD (256 << 10)		/* bytes of a head */
#define AX_G_TURNS 256			/* tokens looked at in one round */
#define AX_G_ROUNDS 256		/* and so many heads in a packet */
#define AX_G_ENDED 2
#define AX_G_RUN 64			/* bytes (or words) that one step looks at: the verifier walks through every one */
#define AX_G_AHEAD (1U << 30)		/* bytes of a body that are decided at once */

enum ax_g_phase {
	AX_G_START = 0,		/* before a request line */
	AX_G_START_LF,
	AX_G_METHOD,
	AX_G_TARGET,
	AX_G_PATH,
	AX_G_PCT1,
	AX_G_PCT2,
	AX_G_QUERY,
	AX_G_VERSION,
	AX_G_FIELD,		/* at the beginning of a field line */
	AX_G_NAME,
	AX_G_VALUE,
	AX_G_VALUE_LF,
	AX_G_HEAD_LF,
	AX_G_PREFACE,		/* of HTTP/2: `idx` bytes behind "PRI *" have been read */
	AX_G_SIZE,		/* of a chunk */
	AX_G_EXT,
	AX_G_SIZE_LF,
	AX_G_DATA_CR,
	AX_G_DATA_LF,
	AX_G_DATA,		/* in a chunk's data: `left` bytes */
	AX_G_BODY,		/* `left` bytes */
	AX_G_UPGRADE,		/* the last request asked for WebSocket: the answer decides what follows */
	/* nothing is read any more */
	AX_G_PASS,		/* allowed unread, or upgraded */
	AX_G_LOST,		/* position not known */
	AX_G_DENIED,
};

enum ax_g_field {
	AX_F_OTHER = 0,
	AX_F_HOST,
	AX_F_LENGTH,
	AX_F_CODING,
	AX_F_UPGRADE,
	AX_F_OVERRIDE,
	AX_F_REWRITE,
	AX_F_ALIAS,	/* a length or coding, to some servers only */
};

#define AX_F_SEEN(f) (1 << (f))
#define AX_F_TRAILER 0x80

static __always_inline int ax_g_deny(struct ax_gw *w, u32 why)
{
	w->reason = why;
	return -1;
}

/* Fills the window from the current position. 0, or -1 at the payload's end. */
AX_GLOBAL int ax_g_fill(struct __sk_buff *skb, u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 n;

	if (!w)
		return -1;
	w->pos += w->at;
	w->at = 0;
	w->wlen = 0;
	if ((s32)(w->end - w->pos) <= 0)
		return -1;
	n = w->end - w->pos;
	if (n > AX_WINDOW)
		n = AX_WINDOW;
	w->wlen = n;
	w->refills++;
	AX_OPAQUE(n);
	n = AX_SIZE(n, AX_WINDOW);
	AX_OPAQUE(n);
	if (bpf_skb_load_bytes(skb, w->base + w->pos, w->win, n)) {
		w->wlen = 0;
		return -1;
	}
	return 0;
}

static __always_inline void ax_g_next(struct ax_gw *w)
{
	struct ax_reading *r = &w->r;

	r->phase = AX_G_START;
	r->seen = 0;
	r->head = 0;
	r->method_len = 0;
	r->host_len = 0;
	r->path_len = 0;
	r->depth = 0;
	r->left = 0;
	r->pct = 0;
}

/* Is what begins a connection, with `n` bytes of a token and then `c`, nothing that a lenient server could read as HTTP and go
 * on behind? Such servers skip what is blank in front of a request (nginx: LF), and split its line at any blank (Python's at
 * those of Latin-1 too). A line of one word is none: servers end a connection for it. */
static __always_inline int ax_g_never_http(const struct ax_gw *w, u32 n, u8 c, u32 at)
{
	if (c == '\r' && n)
		return at < w->wlen && w->win[AX_INDEX(at, AX_WINDOW)] == '\n';
	if (c == '\n')
		return !!n;
	if (c >= 0x80)
		return c != 0x85 && c != 0xa0;
	return c < 0x1c && (c < '\t' || c > '\r');
}

/* A request line cannot begin so. */
static __always_inline int ax_g_no_method(struct ax_gw *w, u32 n, u8 c, u32 at)
{
	if (!w->first)
		return ax_g_deny(w, AX_DENY_REQUEST_LINE);
	if (w->set.flags & AX_POL_NON_HTTP && (n >= 31 || !ax_g_never_http(w, n, c, at)))
		return ax_g_deny(w, AX_DENY_REQUEST_LINE);
	return ax_g_deny(w, AX_DENY_NON_HTTP);
}

AX_GLOBAL int ax_g_method(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 at, len, n;

	if (!w)
		return -1;
	at = w->at;
	len = w->wlen;
	n = w->r.method_len;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 33; i++) {
		u8 c;

		if (at >= len || at >= AX_WINDOW)
			break;
		c = w->win[AX_INDEX(at, AX_WINDOW)];
		at++;
		if (c == ' ' && n) {
			w->r.phase = AX_G_TARGET;
			break;
		}
		if (!ax_tchar(c) || n >= 31)
			return ax_g_no_method(w, n, c, at);
		w->t.method[n & 31] = c;
		n++;
	}
	w->r.method_len = n;
	w->r.head += at - w->at;
	w->at = at;
	return 0;
}

/* A segment of the path has ended, which is canonical unless it is a dot segment (RFC 3986 section 5.2.4). */
static __always_inline int ax_g_segment(struct ax_gw *w, u32 n, u64 hash)
{
	u32 from = w->r.seg_from, len = n - from, depth = w->r.depth;

	if (len == 1 && w->t.path[AX_INDEX(from, AX_POL_PATH)] == '.')
		return ax_g_deny(w, AX_DENY_PATH);
	if (len == 2 && w->t.path[AX_INDEX(from, AX_POL_PATH)] == '.' && w->t.path[AX_INDEX(from + 1, AX_POL_PATH)] == '.')
		return ax_g_deny(w, AX_DENY_PATH);
	if (depth < AX_POL_DEPTH) {
		struct ax_jseg *s = &w->t.seg[AX_INDEX(depth, AX_POL_DEPTH)];

		s->hash = hash;
		s->from = from;
		s->len = len;
	}
	if (depth <= AX_POL_DEPTH)
		w->r.depth = depth + 1;
	w->r.seg_from = n;
	return 0;
}

/* What a byte of a path is: part of a segment (0), or by the table below. */
enum { AX_PC_BAD = 1, AX_PC_SLASH, AX_PC_PCT, AX_PC_QUERY, AX_PC_END };

static __always_inline u32 ax_path_class(u8 c)
{
	if (c >= '@')
		return c == '\\' || c >= 0x7f;
	if (c >= '0' && c <= '9')
		return 0;
	if (c == '/')
		return AX_PC_SLASH;
	if (c == ' ')
		return AX_PC_END;
	if (c == '?')
		return AX_PC_QUERY;
	if (c == '%')
		return AX_PC_PCT;
	return c < ' ' || c == ';' || c == '#';
}

AX_GLOBAL int ax_g_path(u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 at, len, n;
	u64 h;

	if (!w)
		return -1;
	at = w->at;
	len = w->wlen;
	n = w->r.path_len;
	h = w->r.seg_hash;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_G_RUN; i++) {
		u32 class;
		u8 c;

		if (at >= len || at >= AX_WINDOW)
			break;
		c = w->win[AX_INDEX(at, AX_WINDOW)];
		at++;
		class = ax_path_class(c);
		if (AX_UNLIKELY(class == AX_PC_BAD))	/* what ends a line is no byte of a path */
			return ax_g_deny(w, c == '\r' || c == '\n' ? AX_DENY_REQUEST_LINE : AX_DENY_PATH);
		if (class == AX_PC_END || class == AX_PC_QUERY) {
			if (ax_g_segment(w, n, h))
				return -1;
			w->r.phase = class == AX_PC_END ? AX_G_VERSION : AX_G_QUERY;
			w->r.idx = 0;
			break;
		}
		if (n >= AX_POL_PATH)
			return ax_g_deny(w, AX_DENY_LONG_PATH);
		if (class == AX_PC_SLASH) {
			if (n == w->r.seg_from)	/* an empty segment that is not the last one */
				return ax_g_deny(w, AX_DENY_PATH);
			if (ax_g_segment(w, n, h))
				return -1;
			w->t.path[AX_INDEX(n, AX_POL_PATH)] = c;
			n++;
			w->r.seg_from = n;
			w->r.pct = 0;
			h = secret;
			continue;
		}
		w->t.path[AX_INDEX(n, AX_POL_PATH)] = c;
		n++;
		h = ax_hash_byte(h, c);
		if (class == AX_PC_PCT) {
			w->r.phase = AX_G_PCT1;
			break;
		}
		if (AX_UNLIKELY(w->r.pct)) {	/* "%25" and two hexadecimal digits: encoded twice */
			u8 x = c | 0x20;

			if ((u8)(c - '0') > 9 && (u8)(x - 'a') > 5)
				w->r.pct = 0;
			else if (++w->r.pct == 3)
				return ax_g_deny(w, AX_DENY_PATH);
		}
	}
	w->r.path_len = n;
	w->r.seg_hash = h;
	w->r.head += at - w->at;
	w->at = at;
	return 0;
}

/* One of the two digits behind a "%" (RFC 3986 section 2.1); in upper case they are canonical. */
static __always_inline int ax_g_digit(struct ax_gw *w)
{
	u32 n = w->r.path_len;
	u8 c = w->win[AX_INDEX(w->at, AX_WINDOW)], v = c - '0', value;

	if (n >= AX_POL_PATH)
		return ax_g_deny(w, AX_DENY_LONG_PATH);
	if (v > 9) {
		c &= ~0x20;
		v = c - 'A' + 10;
		if (v < 10 || v > 15)
			return ax_g_deny(w, AX_DENY_PATH);
	}
	w->t.path[AX_INDEX(n, AX_POL_PATH)] = c;
	w->r.path_len = n + 1;
	w->r.seg_hash = ax_hash_byte(w->r.seg_hash, c);
	w->r.head++;
	w->at++;
	if (w->r.phase == AX_G_PCT1) {
		w->r.idx = v;
		w->r.phase = AX_G_PCT2;
		return 0;
	}
	value = w->r.idx << 4 | v;
	if (value < 0x20 || value == 0x7f || value == '/' || value == '\\' || value == '.')
		return ax_g_deny(w, AX_DENY_PATH);
	/* "%25" and two hexadecimal digits, each as it is or encoded: encoded twice */
	if (value == '%')
		w->r.pct = 1;
	else if (w->r.pct && ((u8)(value - '0') <= 9 || (u8)((value | 0x20) - 'a') <= 5))
		w->r.pct++;
	else
		w->r.pct = 0;
	if (w->r.pct == 3)
		return ax_g_deny(w, AX_DENY_PATH);
	w->r.phase = AX_G_PATH;
	return 0;
}

/* The query is not judged; it ends at the blank. */
AX_GLOBAL int ax_g_query(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 at, len;

	if (!w)
		return -1;
	at = w->at;
	len = w->wlen;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_G_RUN; i++) {
		u8 c;

		if (at >= len || at >= AX_WINDOW)
			break;
		c = w->win[AX_INDEX(at, AX_WINDOW)];
		at++;
		if (c == ' ') {
			w->r.phase = AX_G_VERSION;
			w->r.idx = 0;
			break;
		}
		if (c < ' ' || c == 0x7f || c == '#')
			return ax_g_deny(w, AX_DENY_REQUEST_LINE);
	}
	w->r.head += at - w->at;
	w->at = at;
	return 0;
}

/* "HTTP/1.x" CR LF: at once if it is all there, else a byte. */
static __always_inline int ax_g_version(struct ax_gw *w)
{
	const u8 *at = w->win + AX_INDEX(w->at, AX_WINDOW);
	u64 word = *(u64 *)at;
	u32 i = w->r.idx;
	u8 c = word;

	if (!i && w->at + 10 <= w->wlen && (word & AX_LOW(7)) == (AX_W_HTTP1 & AX_LOW(7)) && word >> 57 == '0' >> 1 &&
	    *(u16 *)(at + 8) == ('\r' | '\n' << 8)) {
		w->r.minor = word >> 56 & 1;
		w->r.head += 10;
		w->r.phase = AX_G_FIELD;
		w->at += 10;
		return 0;
	}
	if (i < 7) {
		if (c != (u8)(AX_W_HTTP1 >> (i & 7) * 8))
			return ax_g_deny(w, AX_DENY_REQUEST_LINE);
	} else if (i == 7) {
		w->r.minor = c - '0';
		if (w->r.minor > 1)
			return ax_g_deny(w, AX_DENY_REQUEST_LINE);
	} else if (c != (i == 8 ? '\r' : '\n')) {
		return ax_g_deny(w, AX_DENY_REQUEST_LINE);
	}
	w->r.idx = i + 1;
	w->at++;
	w->r.head++;
	if (i >= 9)
		w->r.phase = AX_G_FIELD;
	return 0;
}

/* What a field is by its name, w->t.name, filled up with zeros. */
static __always_inline u32 ax_g_field_of(const struct ax_gw *w)
{
	const u64 *n = (const u64 *)w->t.name;
	u32 len = w->r.name_len;

	if (len == 4 && n[0] == AX_W8('h', 'o', 's', 't', 0, 0, 0, 0))
		return AX_F_HOST;
	if (len == 14 && n[0] == AX_W8('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
	    n[1] == AX_W8('l', 'e', 'n', 'g', 't', 'h', 0, 0))
		return w->r.idx ? AX_F_ALIAS : AX_F_LENGTH;
	if (len == 17 && n[0] == AX_W8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') &&
	    n[1] == AX_W8('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n') && n[2] == 'g')
		return w->r.idx ? AX_F_ALIAS : AX_F_CODING;
	if (len == 7 && n[0] == AX_W8('u', 'p', 'g', 'r', 'a', 'd', 'e', 0))
		return AX_F_UPGRADE;
	if (n[0] == AX_W8('x', '-', 'h', 't', 't', 'p', '-', 'm') && n[1] == AX_W8('e', 't', 'h', 'o', 'd', 0, 0, 0) &&
	    len == 13)
		return AX_F_OVERRIDE;
	if (len == 22 && n[0] == AX_W8('x', '-', 'h', 't', 't', 'p', '-', 'm') &&
	    n[1] == AX_W8('e', 't', 'h', 'o', 'd', '-', 'o', 'v') && n[2] == AX_W8('e', 'r', 'r', 'i', 'd', 'e', 0, 0))
		return AX_F_OVERRIDE;
	if (len == 17 && n[0] == AX_W8('x', '-', 'm', 'e', 't', 'h', 'o', 'd') &&
	    n[1] == AX_W8('-', 'o', 'v', 'e', 'r', 'r', 'i', 'd') && n[2] == 'e')
		return AX_F_OVERRIDE;
	if (len == 14 && n[0] == AX_W8('x', '-', 'o', 'r', 'i', 'g', 'i', 'n') &&
	    n[1] == AX_W8('a', 'l', '-', 'u', 'r', 'l', 0, 0))
		return AX_F_REWRITE;
	if (len == 13 && n[0] == AX_W8('x', '-', 'r', 'e', 'w', 'r', 'i', 't') &&
	    n[1] == AX_W8('e', '-', 'u', 'r', 'l', 0, 0, 0))
		return AX_F_REWRITE;
	return AX_F_OTHER;
}

AX_GLOBAL int ax_g_name(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 at, len, n;

	if (!w)
		return -1;
	at = w->at;
	len = w->wlen;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_G_RUN; i++) {
		u8 c;

		if (at >= len || at >= AX_WINDOW)
			break;
		c = w->win[AX_INDEX(at, AX_WINDOW)];
		n = w->r.name_len;
		at++;
		if (c == ':' && n) {
			u32 f;

			f = ax_g_field_of(w);
			w->r.field = f;
			w->r.idx = 0;
			w->r.val_len = 0;
			w->r.phase = AX_G_VALUE;
			if (f == AX_F_OVERRIDE)
				return ax_g_deny(w, AX_DENY_OVERRIDE);
			if (f == AX_F_ALIAS || (f && w->r.seen & AX_F_TRAILER))
				return ax_g_deny(w, AX_DENY_FIELD);
			break;
		}
		if (!ax_tchar(c))
			return ax_g_deny(w, AX_DENY_FIELD);
		if ((u8)(c - 'A') < 26)
			c |= 0x20;
		/* servers that keep fields as CGI does cannot tell signs from hyphens (RFC 3875 section 4.1.18) */
		if ((u8)(c - 'a') > 25 && (u8)(c - '0') > 9) {
			w->r.idx |= c ^ '-';
			c = '-';
		}
		if (n < 32)
			w->t.name[n & 31] = c;
		if (n < 33)
			w->r.name_len = n + 1;
	}
	w->r.head += at - w->at;
	w->at = at;
	return 0;
}

/* 0x80 in bytes below 0x20 and in those that are 0x7f; perhaps also in bytes above the lowest such one. */
static __always_inline u64 ax_controls(u64 x)
{
	u64 del = x ^ 0x7f7f7f7f7f7f7f7fULL;

	return ((x - AX_ONES * 0x20) & ~x & AX_HIGHS) | ((del - AX_ONES) & ~del & AX_HIGHS);
}

/* The value of a field that nobody asks for: on to the next control byte, by words. */
AX_GLOBAL int ax_g_skip(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 at, len;

	if (!w)
		return -1;
	at = w->at;
	len = w->wlen;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_G_RUN; i++) {
		u8 c;

		if (at >= len || at >= AX_WINDOW)
			break;
		/* behind the first control byte, or behind the word if it has none */
		at += ax_after(ax_controls(*(u64 *)(w->win + AX_INDEX(at, AX_WINDOW))));
		if (at > len) {
			at = len;
			break;
		}
		c = w->win[AX_INDEX(at - 1, AX_WINDOW)];
		if (c == '\r') {
			w->r.phase = AX_G_VALUE_LF;
			if (at < len && w->win[AX_INDEX(at, AX_WINDOW)] == '\n') {
				w->r.phase = AX_G_FIELD;
				at++;
			}
			break;
		}
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return ax_g_deny(w, AX_DENY_FIELD);
	}
	w->r.head += at - w->at;
	w->at = at;
	return 0;
}

/* The value of one that matters is kept. */
AX_GLOBAL int ax_g_value(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 at, len, n;	/* `n` is read anew: the verifier need not follow its values */

	if (!w)
		return -1;
	at = w->at;
	len = w->wlen;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_G_RUN; i++) {
		u8 c;

		if (at >= len || at >= AX_WINDOW)
			break;
		c = w->win[AX_INDEX(at, AX_WINDOW)];
		n = w->r.val_len;
		at++;
		if (c == '\r') {
			w->r.phase = AX_G_VALUE_LF;
			break;
		}
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return ax_g_deny(w, AX_DENY_FIELD);
		if (!n && (c == ' ' || c == '\t'))
			continue;
		if (n >= AX_POL_TEXT)
			return ax_g_deny(w, AX_DENY_FIELD);
		if ((u8)(c - 'A') < 26)
			c |= 0x20;
		w->t.val[AX_INDEX(n, AX_POL_TEXT)] = c;
		w->r.val_len = n + 1;
	}
	w->r.head += at - w->at;
	w->at = at;
	return 0;
}

/* Content-Length = 1*DIGIT (RFC 9110 section 8.6), once. */
AX_GLOBAL int ax_g_length(u32 lvl, u32 n)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u64 v = 0;

	if (!w)
		return -1;
	if (!n || n > 18)
		return ax_g_deny(w, AX_DENY_LENGTH);
	AX_OPAQUE(n);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 18; i++) {
		u8 c;

		if (i >= n)
			break;
		c = w->t.val[i] - '0';
		if (c > 9)
			return ax_g_deny(w, AX_DENY_LENGTH);
		v = v * 10 + c;
	}
	w->r.left = v;
	return 0;
}

enum { AX_H_NAME = 0, AX_H_LITERAL, AX_H_CLOSED, AX_H_PORT };

/* One byte of a Host: what the next one is in, or -1. */
AX_GLOBAL int ax_host_byte(u32 state, u32 c, u32 first)
{
	int digit = (u8)(c - '0') <= 9;

	if (state == AX_H_PORT)
		return digit ? AX_H_PORT : -1;
	if (c == ':' && state != AX_H_LITERAL)
		return AX_H_PORT;
	if (state == AX_H_CLOSED)
		return -1;
	if (c == '[')
		return first ? AX_H_LITERAL : -1;
	if (c == ']')
		return state == AX_H_LITERAL ? AX_H_CLOSED : -1;
	if (c == ':')
		return state;
	return digit || (u8)(c - 'a') <= 25 || c == '.' || c == '-' || c == '_' ? (int)state : -1;
}

/* uri-host [":" port] (RFC 9110 section 7.2): kept without the port. */
AX_GLOBAL int ax_g_host(u32 lvl, u32 n)
{
	struct ax_gw *w = ax_gate_area(lvl);

	if (!w)
		return -1;
	if (n > AX_POL_TEXT - 1)
		return ax_g_deny(w, AX_DENY_HOST);
	AX_OPAQUE(n);
	w->r.idx = AX_H_NAME;	/* in memory: the verifier need not follow its values */
	w->r.host_len = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_TEXT; i++) {
		int next;
		u8 c;

		if (i >= n)
			break;
		c = w->t.val[i];
		next = ax_host_byte(w->r.idx, c, !i);
		if (next < 0)
			return ax_g_deny(w, AX_DENY_HOST);
		w->r.idx = next;
		if (next == AX_H_PORT)
			continue;
		w->t.host[i] = c;
		w->r.host_len = i + 1;
	}
	return w->r.idx == AX_H_LITERAL ? ax_g_deny(w, AX_DENY_HOST) : 0;
}

/* How long the value is without the blanks behind it. */
AX_GLOBAL u32 ax_g_trimmed(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	u32 n;

	if (!w)
		return 0;
	n = w->r.val_len;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < AX_POL_TEXT; i++) {
		u8 c;

		if (!n || n > AX_POL_TEXT)
			break;
		c = w->t.val[AX_INDEX(n - 1, AX_POL_TEXT)];
		if (c != ' ' && c != '\t')
			break;
		n--;
	}
	return n;
}

/* A field's line has ended. */
static __always_inline int ax_g_field_end(struct ax_gw *w, u32 lvl)
{
	const u64 *v = (const u64 *)w->t.val;
	u32 n, f = w->r.field;

	w->r.phase = AX_G_FIELD;
	if (!f)
		return 0;
	n = ax_g_trimmed(lvl);
	if (w->r.seen & AX_F_SEEN(f))
		return ax_g_deny(w, f == AX_F_HOST ? AX_DENY_HOST : f == AX_F_LENGTH ? AX_DENY_LENGTH :
				    f == AX_F_CODING ? AX_DENY_CODING : AX_DENY_UPGRADE);
	w->r.seen |= AX_F_SEEN(f);
	if (f == AX_F_HOST)
		return ax_g_host(lvl, n);
	if (f == AX_F_LENGTH)
		return ax_g_length(lvl, n);
	if (f == AX_F_CODING)
		return n == 7 && (v[0] & AX_LOW(7)) == AX_W8('c', 'h', 'u', 'n', 'k', 'e', 'd', 0) && w->r.minor ?
			0 : ax_g_deny(w, AX_DENY_CODING);
	return n == 9 && v[0] == AX_W8('w', 'e', 'b', 's', 'o', 'c', 'k', 'e') && (u8)v[1] == 't' ?
		0 : ax_g_deny(w, AX_DENY_UPGRADE);
}

/* Keeps for what is told of the request what was decided of it. */
AX_GLOBAL int ax_g_note(u32 lvl)
{
	struct ax_gw *w = ax_gate_area(lvl);
	struct ax_told *t;
	u32 number;

	if (!w)
		return 0;
	number = w->number + w->heads - 1;
	t = &w->told[number & (AX_TOLD - 1)];
	t->number = number;
	t->policy = w->policy;
	t->rule = w->rule;
	t->verdict = w->verdict;
	t->deny = w->verdict == AX_VERDICT_AUDIT ? AX_DENY_RULE : AX_DENY_NONE;
	return 0;
}

/* A head is complete: is it whole, and what follows it? */
static __always_inline int ax_g_head_end(struct ax_gw *w, u32 lvl, u64 secret)
{
	u32 seen = w->r.seen;

	if (seen & AX_F_TRAILER) {
		ax_g_next(w);
		return 0;
	}
	if (w->r.minor && !(seen & AX_F_SEEN(AX_F_HOST)))
		return ax_g_deny(w, AX_DENY_HOST);
	if (seen & AX_F_SEEN(AX_F_LENGTH) && seen & AX_F_SEEN(AX_F_CODING))
		return ax_g_deny(w, AX_DENY_LENGTH);
	ax_judge(lvl, secret);
	w->heads++;
	w->head_end = w->pos + w->at;
	if (w->verdict == AX_VERDICT_DROPPED) {
		if (!w->soft)
			return ax_g_deny(w, AX_DENY_RULE);
		w->verdict = AX_VERDICT_AUDIT;
	}
	if (!w->counted)
		ax_verdict_count(w->policy, w->verdict);
	ax_g_note(lvl);
	w->first = 0;
	if (seen & AX_F_SEEN(AX_F_UPGRADE)) {
		if (w->r.left || seen & AX_F_SEEN(AX_F_CODING))
			return ax_g_deny(w, AX_DENY_UPGRADE);
		ax_g_next(w);
		w->r.phase = AX_G_UPGRADE;
		return 0;
	}
	if (seen & AX_F_SEEN(AX_F_CODING)) {
		w->r.phase = AX_G_SIZE;
		w->r.idx = 0;
		w->r.left = 0;
	} else if (w->r.left) {
		w->r.phase = AX_G_BODY;
	} else {
		ax_g_next(w);
	}
	return 0;
}

/* Passes over as much of a body as there is, and decides of what is still to come. */
static __always_inline void ax_g_body(struct ax_gw *w)
{
	u64 n = w->end - w->pos - w->at;

	if (n > w->r.left)
		n = w->r.left;
	w->r.left -= n;
	w->at += n;	/* maybe behind the window: it is filled anew from there */
	if (w->r.left)
		return;
	if (w->r.phase == AX_G_DATA)
		w->r.phase = AX_G_DATA_CR;
	else
		ax_g_next(w);
}

/* The beginning of a value that some servers take for the request's path, unless it is empty or a whole URL, which a proxy
 * notes. */
static __always_inline int ax_g_rewrite(struct ax_gw *w)
{
	u8 c = w->win[AX_INDEX(w->at, AX_WINDOW)], i = w->r.idx;

	if (w->at >= w->wlen)
		return 0;
	if (!i && c == '\r') {
		w->r.field = AX_F_OTHER;
		return 0;
	}
	w->at++;
	w->r.head++;
	if (!i && (c == ' ' || c == '\t'))
		return 0;
	c |= 0x20;
	if (i == 4 && c == 's')
		return 0;
	if (c != (u8)(AX_W8('h', 't', 't', 'p', ':', '/', '/', 0) >> (i & 7) * 8))
		return ax_g_deny(w, AX_DENY_OVERRIDE);
	w->r.idx = i + 1;
	if (i >= 6)
		w->r.field = AX_F_OTHER;
	return 0;
}

/* A field's name, its value, or both. */
static __always_inline int ax_g_field_line(struct ax_gw *w, u32 lvl)
{
	if (w->r.phase == AX_G_NAME) {
		int r = ax_g_name(lvl);

		if (r || w->r.phase != AX_G_VALUE)
			return r;
	}
	if (w->r.field == AX_F_REWRITE)
		return ax_g_rewrite(w);
	return w->r.field ? ax_g_value(lvl) : ax_g_skip(lvl);
}

/* One byte of what HTTP/2 connections begin with (RFC 9113 section 3.4), behind "PRI *". Servers that do not know it may answer
 * a line that is only like it, and read on. */
static __always_inline int ax_g_preface(struct ax_gw *w, u8 c)
{
	u32 i = w->r.idx;
	u64 text = i < 8 ? AX_W8(' ', 'H', 'T', 'T', 'P', '/', '2', '.') :
		   i < 16 ? AX_W8('0', '\r', '\n', '\r', '\n', 'S', 'M', '\r') : AX_W8('\n', '\r', '\n', 0, 0, 0, 0, 0);

	if (c != (u8)(text >> (i & 7) * 8))
		return ax_g_deny(w, AX_DENY_TARGET);
	w->r.idx = i + 1;
	return i < 18 ? 0 : ax_g_deny(w, AX_DENY_NON_HTTP);
}

/* What is asked for does not begin as a path does. */
static __always_inline int ax_g_no_path(struct ax_gw *w, u8 c)
{
	if (!w->first || c != '*' || w->r.method_len != 3 ||
	    (*(u32 *)w->t.method & AX_LOW(3)) != ('P' | 'R' << 8 | 'I' << 16))
		return ax_g_deny(w, AX_DENY_TARGET);
	if (!(w->set.flags & AX_POL_NON_HTTP))
		return ax_g_deny(w, AX_DENY_NON_HTTP);
	w->r.idx = 0;
	w->r.phase = AX_G_PREFACE;
	return 0;
}

/* One byte of chunk framing, or of a line's end. */
static __always_inline int ax_g_byte(struct ax_gw *w, u32 lvl, u64 secret)
{
	u8 c = w->win[AX_INDEX(w->at, AX_WINDOW)], v;

	w->at++;
	w->r.head++;
	switch (w->r.phase) {
	case AX_G_START:
		if (c == '\r') {
			w->r.phase = AX_G_START_LF;
			return 0;
		}
		w->at--;
		w->r.head = 0;
		w->r.phase = AX_G_METHOD;
		return ax_g_method(lvl);
	case AX_G_START_LF:	/* RFC 9112 section 2.2: an empty line before a request line */
		w->r.phase = AX_G_START;
		return c == '\n' ? 0 : ax_g_deny(w, AX_DENY_REQUEST_LINE);
	case AX_G_TARGET:
		if (c != '/')
			return ax_g_no_path(w, c);
		/* RFC 9112 section 3.2.3: a path is none for CONNECT, and what follows a 200 would be opaque */
		if (w->r.method_len == 7 && (*(u64 *)w->t.method & AX_LOW(7)) == AX_W8('C', 'O', 'N', 'N', 'E', 'C', 'T', 0))
			return ax_g_deny(w, AX_DENY_TARGET);
		w->t.path[0] = '/';
		w->r.path_len = 1;
		w->r.seg_from = 1;
		w->r.depth = 0;
		w->r.pct = 0;
		w->r.seg_hash = secret;
		w->r.phase = AX_G_PATH;
		return ax_g_path(lvl, secret);
	case AX_G_FIELD:
		if (c == '\r') {
			w->r.phase = AX_G_HEAD_LF;
			return 0;
		}
		w->at--;
		w->r.head--;
		w->r.name_len = 0;
		w->r.idx = 0;
		*(u64 *)w->t.name = 0;
		*(u64 *)(w->t.name + 8) = 0;
		*(u64 *)(w->t.name + 16) = 0;
		*(u64 *)(w->t.name + 24) = 0;
		w->r.phase = AX_G_NAME;
		return ax_g_field_line(w, lvl);
	case AX_G_VALUE_LF:
		return c == '\n' ? ax_g_field_end(w, lvl) : ax_g_deny(w, AX_DENY_FIELD);
	case AX_G_HEAD_LF:
		return c == '\n' ? AX_G_ENDED : ax_g_deny(w, AX_DENY_FIELD);
	case AX_G_PREFACE:
		return ax_g_preface(w, c);
	case AX_G_SIZE:
		v = c - '0';
		if (v > 9) {
			v = (c | 0x20) - 'a' + 10;
			if (v < 10 || v > 15) {
				if (!w->r.idx || (c != ';' && c != '\r'))
					return ax_g_deny(w, AX_DENY_CHUNK);
				w->r.phase = c == ';' ? AX_G_EXT : AX_G_SIZE_LF;
				return 0;
			}
		}
		if (w->r.idx >= 15)
			return ax_g_deny(w, AX_DENY_CHUNK);
		w->r.idx++;
		w->r.left = w->r.left << 4 | v;
		return 0;
	case AX_G_EXT:
		if (c == '\r')
			w->r.phase = AX_G_SIZE_LF;
		else if ((c < ' ' && c != '\t') || c >= 0x7f)
			return ax_g_deny(w, AX_DENY_CHUNK);
		return 0;
	case AX_G_SIZE_LF:
		if (c != '\n')
			return ax_g_deny(w, AX_DENY_CHUNK);
		w->r.head = 0;
		if (w->r.left) {
			w->r.phase = AX_G_DATA;
		} else {
			w->r.seen = AX_F_TRAILER;
			w->r.phase = AX_G_FIELD;
		}
		return 0;
	case AX_G_DATA_CR:
		w->r.phase = AX_G_DATA_LF;
		return c == '\r' ? 0 : ax_g_deny(w, AX_DENY_CHUNK);
	case AX_G_DATA_LF:
		w->r.phase = AX_G_SIZE;
		w->r.idx = 0;
		w->r.left = 0;
		return c == '\n' ? 0 : ax_g_deny(w, AX_DENY_CHUNK);
	}
	return ax_g_deny(w, AX_DENY_POSITION);
}

static __always_inline int ax_g_token(struct ax_gw *w, u32 lvl, u64 secret)
{
	switch (w->r.phase) {
	case AX_G_UPGRADE:	/* RFC 6455 section 4.1: a client waits for the answer */
		return ax_g_deny(w, AX_DENY_UPGRADE);
	case AX_G_METHOD:
		return ax_g_method(lvl);
	case AX_G_PATH:
		return ax_g_path(lvl, secret);
	case AX_G_PCT1:
	case AX_G_PCT2:
		return ax_g_digit(w);
	case AX_G_QUERY:
		return ax_g_query(lvl);
	case AX_G_VERSION:
		return ax_g_version(w);
	case AX_G_NAME:
	case AX_G_VALUE:
		return ax_g_field_line(w, lvl);
	}
	return ax_g_byte(w, lvl, secret);
}

/* One token. 0: go on; 1: the payload is used up, or nothing is read any more; AX_G_ENDED: a head is complete;
 * -1: denied, see w->reason. Notes how far what it reads is no body's content. */
AX_GLOBAL int ax_g_step(struct __sk_buff *skb, u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	int r;

	if (!w)
		return 1;
	if (w->r.phase >= AX_G_PASS)
		return 1;
	if (w->r.head > AX_G_HEAD)
		return ax_g_deny(w, AX_DENY_LONG_HEAD);
	if (w->at >= w->wlen && ax_g_fill(skb, lvl))
		return 1;
	if (w->r.phase == AX_G_BODY || w->r.phase == AX_G_DATA) {
		ax_g_body(w);
		return 0;
	}
	r = ax_g_token(w, lvl, secret);
	w->framed = w->pos + w->at;
	return r;
}

/* Reads on: as a step. */
AX_GLOBAL int ax_g_read_on(struct __sk_buff *skb, u32 lvl, u64 secret)
{
	int r;

#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_G_TURNS; i++) {
		r = ax_g_step(skb, lvl, secret);
		if (r)
			return r;
	}
	return 0;
}

/* Reads the whole payload. 0, or -1: denied. */
AX_GLOBAL int ax_g_read(struct __sk_buff *skb, u32 lvl, u64 secret)
{
	struct ax_gw *w = ax_gate_area(lvl);
	int r;

	if (!w)
		return -1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < AX_G_ROUNDS; i++) {
		r = ax_g_read_on(skb, lvl, secret);
		if (r == AX_G_ENDED)
			r = ax_g_head_end(w, lvl, secret);
		if (r)
			return r < 0 ? -1 : 0;
	}
	return ax_g_deny(w, AX_DENY_LONG_HEAD);	/* thousands of tokens in one packet */
}

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * axon_policy.h - the contract's second half: what user space compiles policies into, and what the kernel judges by.
 *
 * A rule is a bit. What a request is judged by (who asks, method, host, port, each segment of the path) selects a
 * bitmap of the rules that allow it; the request is allowed if their intersection is not empty, and the lowest bit
 * names the rule (Lakshman and Stiliadis 1998). Bitmaps are sparse, by a summary of their words (Baboescu and
 * Varghese 2001).
 *
 * Everything of one workload is a set. Sets lie in an arena of 64-bit cells, and are found by a directory of which
 * there are two: one is in use, the other is being written, `gen` says which. Nothing of a generation that is in use
 * is ever changed, so every request is judged by the one or the other.
 */
#ifndef AXON_POLICY_H
#define AXON_POLICY_H

#include "axon.h"

#define AX_POL_PATH 2048	/* bytes of a path that are judged; longer ones are denied */
#define AX_POL_DEPTH 32		/* segments that are judged one by one; behind them only a tail wildcard matches */
#define AX_POL_TEXT 256		/* bytes of a literal: segment, host or method */
#define AX_POL_SETS 4096	/* sets in a directory; 0 is none: not selected */
#define AX_POL_POLICIES 4096	/* names; 0 is none */
#define AX_POL_GROUPS 4		/* summary words of a bitmap */
#define AX_POL_RULES (AX_POL_GROUPS * 64 * 64)
#define AX_POL_GLOBS 64		/* rules of a set with a wildcard inside a segment */
#define AX_POL_PROBES 8		/* buckets of a set's table that a key may be found in */
#define AX_POL_NAME 128

enum ax_pol_mode {
	AX_POL_MODE_OFF = 0,	/* nothing is judged */
	AX_POL_MODE_AUDIT,	/* what would be denied is counted, and let by */
	AX_POL_MODE_ENFORCE,
};

/* ax_pol_ctl: one entry. */
struct ax_pol_ctl {
	ax_u32 gen;		/* raised with every switch; its lowest bit is the half in use. 0: never written */
	ax_u32 mode;		/* enum ax_pol_mode */
	ax_u64 secret;		/* keys the hashes of the sets' tables */
	ax_u64 newest;		/* cgroups with greater ids are not known yet: what is asked of them is held. 0: nothing is */
	ax_u32 header;		/* 1: answers name their policy in x-axon-policy */
	ax_u32 offs;		/* raised before the mode is no more off */
};

/* Who somebody is. Numbers from AX_IDENT_FIRST on stand for a set of labels. */
enum ax_ident {
	AX_IDENT_UNKNOWN = 0,	/* on this host, but not known (yet, or any more) */
	AX_IDENT_WORLD,		/* an address that nothing is known of */
	AX_IDENT_FIRST = 16,
};

/* ax_pol_target: which set a server's socket is judged by. Of a socket's cgroup, command and port each may be 0 (any
 * other). Looked for in this order: cgroup, then cgroup 0; in each the command, then none; in each the port, then 0.
 * The first that is found counts, also if it says 0. */
struct ax_pol_target {
	ax_u64 cgroup;
	ax_u8 comm[AX_COMM];
	ax_u32 port;		/* host byte order */
	ax_u32 half;
};				/* -> u32 set */

/* ax_pol_caller: who a caller on this host is, by its socket. (cgroup, command), then (cgroup, none); no cgroup 0. */
struct ax_pol_caller {
	ax_u64 cgroup;
	ax_u8 comm[AX_COMM];
	ax_u64 half;
};				/* -> u32 enum ax_ident or a number from AX_IDENT_FIRST on */

/* ax_pol_addr: a longest-prefix trie over {half, address}. */
struct ax_pol_addr {
	ax_u32 bits;		/* 32 for `half`, and those of the address (IPv4: 96 more than of its own) */
	ax_u32 half;
	ax_u8 addr[16];		/* IPv4 mapped */
};

struct ax_pol_peer {
	ax_u32 ident;		/* of a caller at this address that is not on this host; 0: none known */
	ax_u32 block;		/* number of the combination of ipBlocks that the address lies in; 0: in none */
};

enum ax_pol_set_flag {
	AX_POL_ENFORCE = 1,	/* a policy that enforces selects it */
	AX_POL_AUDIT = 2,	/* a policy that audits does */
	AX_POL_NON_HTTP = 4,	/* what is not HTTP/1 from its first byte on is let by (spec.nonHTTP: allow) */
	AX_POL_HOST_TAILS = 8,	/* there are hosts with "*." */
};

/* ax_pol_dir, entry half * AX_POL_SETS + number: where the parts of a set lie in the arena, as absolute numbers of cells.
 * A bitmap: AX_POL_GROUPS summary words, then those words that are not 0, in order; summary bit b of group g stands for
 * rules (g * 64 + b) * 64 and the 63 behind it. Cell 0 of the arena is 0 and followed by zeros: an empty bitmap. */
struct ax_pol_set {
	ax_u32 serial;		/* of the set's content; never 0, never used again */
	ax_u32 flags;		/* enum ax_pol_set_flag */
	ax_u32 count;		/* rules */
	ax_u32 enforce;		/* the first so many belong to policies that enforce, the others to those that audit */
	ax_u32 table;		/* first cell of the table */
	ax_u32 mask;		/* its buckets (a power of two) less one */
	ax_u32 rules;		/* first of the rules' records, struct ax_pol_rule */
	ax_u32 wild;		/* cell wild + depth, of AX_POL_DEPTH: bitmap of the rules with any segment there */
	ax_u32 length;		/* cell length + n, n of 0 .. AX_POL_DEPTH + 1: bitmap of the rules that a path of n segments
				 * can match; the last stands for every longer path. n = 0 is no path */
	ax_u32 opaque;		/* bitmap of the rules without httpRules */
	ax_u32 any_from;	/* bitmaps of the rules that do not ask for a caller, */
	ax_u32 any_method;	/* ... method, */
	ax_u32 any_host;
	ax_u32 any_port;
	ax_u16 deny;		/* the policy that denials are put to, */
	ax_u16 audit;		/* and that of audited ones */
	ax_u32 pad;
};

/* What a bitmap is found by in a set's table. The bitmaps of methods, hosts and ports, of callers and blocks contain the
 * rules that do not ask for one (any_...) as well; that of a host, those of its tails, and that of a tail, those of the
 * shorter tails. The bitmaps of segments do not contain `wild`. */
enum ax_pol_kind {
	AX_POL_KIND_SEGMENT = 0,	/* text: the segment; sub: its depth, from 0 */
	AX_POL_KIND_METHOD,		/* text: as sent */
	AX_POL_KIND_HOST,		/* text: in lower case, without a port */
	AX_POL_KIND_TAIL,		/* text: of "*.b.c" it is "c.b." backwards: the bytes of ".b.c" from the last to the first */
	AX_POL_KIND_PORT,		/* number */
	AX_POL_KIND_IDENT,		/* number */
	AX_POL_KIND_BLOCK,		/* number */
};

/*
 * A table has (mask + 1) buckets of two cells: the key's hash, and the cell of its record (0: free). A key is in the
 * first free one of buckets (hash + 0 .. AX_POL_PROBES - 1) & mask, so there is none behind a free bucket.
 *   hash of a text: h = secret; for each byte h = (h ^ byte) * 0x100000001b3
 *   of a key:       h ^= (kind << 8 | sub) * 0x9fb21c651e98df25, then h ^= h >> 32
 * A number is a text of four bytes, little-endian.
 * A record: one cell of struct ax_pol_record, then the text, in whole cells, filled up with zeros.
 */
struct ax_pol_record {
	ax_u32 bits;		/* first cell of the bitmap */
	ax_u16 len;		/* of the text */
	ax_u8 kind;
	ax_u8 sub;
};

/* Of a rule: two cells. */
struct ax_pol_rule {
	ax_u16 policy;
	ax_u16 number;		/* of the rule in its policy: entry of `ingress` << 8 | entry of `httpRules`, each from 0 and at most 255 */
	ax_u32 glob;		/* first cell of its list of wildcards inside segments, or 0 */
	ax_u64 pad;
};

/* A wildcard inside a segment: one cell of this, then the text before the "*" and behind it, in whole cells each.
 * In the bitmaps its segment counts as any. The list ends with a cell of 0. */
struct ax_pol_glob {
	ax_u8 depth;		/* from 0 */
	ax_u8 one;		/* 1: so that no entry is 0 */
	ax_u16 prefix;		/* bytes */
	ax_u16 suffix;		/* bytes */
	ax_u16 pad;
};

/* ax_pol_names: the text that answers name a policy with. */
struct ax_pol_name {
	ax_u32 len;
	ax_u8 text[AX_POL_NAME];
};

enum ax_verdict {
	AX_VERDICT_NONE = 0,	/* nothing selects the workload */
	AX_VERDICT_FORWARDED,
	AX_VERDICT_AUDIT,	/* let by, but a policy that audits (or every policy, in mode audit) does not allow it */
	AX_VERDICT_DROPPED,
	AX_VERDICT_MAX,
};

/* ax_pol_counts: per CPU, by policy. */
struct ax_pol_count {
	ax_u64 verdict[AX_VERDICT_MAX];
};

/* Why a request, or the rest of a connection, was denied. The comment is the text in the documentation. */
enum ax_deny {
	AX_DENY_NONE = 0,
	AX_DENY_RULE,		/* no rule allows it */
	AX_DENY_NON_HTTP,	/* not HTTP/1 from its first byte on (TLS, HTTP/2, another protocol) */
	AX_DENY_REQUEST_LINE,	/* a request line that is not exactly METHOD SP TARGET SP HTTP/1.x CRLF (RFC 9112 section 3) */
	AX_DENY_TARGET,		/* a target that is not a path: absolute form, authority, "*" (RFC 9112 section 3.2) */
	AX_DENY_PATH,		/* a path that is not canonical: "//", dot segments, encoded or raw "/", "\", ".", NUL, ";", "#" */
	AX_DENY_LONG_PATH,	/* a path longer than 2,048 bytes */
	AX_DENY_FIELD,		/* a malformed header field: blank before the colon, folding, bare CR or LF, NUL (RFC 9112 section 5); Content_Length and the like; a field that frames, in a trailer */
	AX_DENY_HOST,		/* no Host in HTTP/1.1, more than one, or one that is no host (RFC 9112 section 3.2) */
	AX_DENY_LENGTH,		/* Content-Length that is malformed, repeated, or beside Transfer-Encoding (RFC 9112 section 6.3) */
	AX_DENY_CODING,		/* Transfer-Encoding that is not exactly "chunked", or in HTTP/1.0 (RFC 9112 section 6.1) */
	AX_DENY_CHUNK,		/* malformed chunked framing (RFC 9112 section 7.1) */
	AX_DENY_UPGRADE,	/* an Upgrade that is not to WebSocket */
	AX_DENY_OVERRIDE,	/* a field that would make another method or path of it: X-HTTP-Method-Override, X-HTTP-Method, X-Method-Override; X-Original-URL or X-Rewrite-URL that is no whole URL; also with other signs for hyphens */
	AX_DENY_LONG_HEAD,	/* a head of more than 256 KiB */
	AX_DENY_RESENT,		/* bytes sent again, not taken by TCP yet, that are not what was judged */
	AX_DENY_POSITION,	/* a connection whose position in the framing is not known (it carried requests that nothing judged) */
	AX_DENY_UNJUDGED,	/* bytes that reached the socket's hook without having been judged in front of it */
	AX_DENY_URGENT,		/* urgent data */
	AX_DENY_ORDER,		/* bytes ahead of those that have been judged (with a SYN, too), or to be denied before TCP has taken all in front of them: dropped, they come again */
	AX_DENY_BUSY,		/* two cores judged one connection: the later packet is dropped and sent again */
	AX_DENY_EARLY,		/* no room for the state of a connection that its server has not accepted yet */
	AX_DENY_MEMORY,		/* no memory for a connection's state, or to read or change a packet: dropped, it comes again; or, within a head, for what was read of it: reset */
	AX_DENY_FRAGMENT,	/* a segment in IP fragments: dropped; a SYN, or what may be one, wherever it goes */
	AX_DENY_STRAY,		/* a segment that TCP would discard, without an acknowledgement number, with an impossible one, or without a whole header: dropped */
	AX_DENY_HELD,		/* for a workload that is too new to be known (policy_hold): dropped, it comes again */
	AX_DENY_MULTIPATH,	/* Multipath TCP, whose order is not that of TCP (RFC 8684): data on a connection that is older than the policy, the end of a handshake that a selected server has not agreed to, or a further path of a connection: dropped */
	AX_DENY_UNTOLD,		/* on a connection from a bridge's port, while the filter that tells what comes out of that port is being put back: dropped, it comes again */
	AX_DENY_MAX,
};

#define AX_DENIES 64	/* room, so that a new reason does not change the layout */

/* ax_pol_unjudged: a connection of whose packets one that TCP would have taken was dropped unjudged. */
struct ax_unjudged {
	ax_u64 cookie;		/* of the server's socket */
	ax_u64 cgroup;		/* that made it */
	ax_u8 raddr[16];	/* the client's end, as the packet had it: an IPv4 address in the first four bytes */
	ax_u8 laddr[16];
	ax_u16 rport;
	ax_u16 lport;
	ax_u32 bound;		/* the interface that the socket is bound to; 0: none */
	ax_u32 family;		/* of the packet: AF_INET or AF_INET6 */
	ax_u32 pad;
};

#endif

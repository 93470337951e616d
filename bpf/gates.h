/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* gates.h - what the gate keeps of a connection, for itself and for what is told of its requests. */
#ifndef AX_GATES_H
#define AX_GATES_H

#include "maps.h"

#define AX_TOLD 8	/* requests whose decisions are kept, a power of two */

/* Where the reading of a connection's requests stands; see strict.h. */
struct ax_reading {
	u8 phase;		/* enum ax_g_phase */
	u8 minor;		/* of the version */
	u8 field;		/* enum ax_g_field */
	u8 seen;		/* fields of this head, a bit each */
	u8 idx;			/* in a fixed text; digits of a number */
	u8 pct;			/* behind "%25": hexadecimal digits, and one more */
	u8 method_len;
	u8 name_len;
	u8 depth;		/* segments that have ended; AX_POL_DEPTH + 1: more */
	u8 host_len;
	u16 val_len;
	u16 path_len;
	u16 seg_from;		/* where the segment begins in the path */
	u32 head;		/* bytes of this head */
	u64 seg_hash;
	u64 left;		/* of the body or chunk */
};

/* Where a connection's judgement stands. */
struct ax_gate_state {
	u32 next;		/* everything before this sequence number has been decided */
	u32 heads;		/* where the newest head, or chunk's framing, ended: TCP may not have taken it yet, if `open` */
	u32 memo_seq;		/* where the head in `memo` began last */
	u32 n;			/* requests that were let by */
	u32 gen;		/* the generation that the following hold for */
	u32 ident;
	u32 block;
	u32 serial;		/* of the set that it was judged by last */
	u32 start;		/* of first data that met the listener: where it began */
	u32 offs;		/* see struct ax_pol_ctl */
	u32 born;		/* when the state was taken over from first data, in 2^20 ns; 0: it was not */
	u64 received;		/* bytes that TCP had taken when a packet was judged last */
	struct ax_told memo;	/* what was decided of the last head; verdict 0: it has to be read anew */
	u16 memo_len;		/* of the last head, if it came alone in a packet; 0: none */
	u8 open;
	u8 doubtful;		/* a policy that audits has let by what is not strictly HTTP: servers may differ on what follows */
	u32 pad;
	u64 came;		/* by what its client's packets came when who asks was found out: see ax_came_by() */
	struct ax_reading r;
};

struct ax_gate {
	struct bpf_spin_lock lock;
	u32 busy;		/* a run has the rest */
	u32 met;		/* 0: nothing is known yet. Two runs may make it: it is the one that has it which begins */
	struct ax_gate_state s;
	struct ax_told told[AX_TOLD];	/* of the newest requests, by their number */
	u8 memo[AX_WINDOW];
};

AX_SK_MAP(ax_gates, struct ax_gate, 0);

/* A segment of the path that is judged. */
struct ax_jseg {
	u64 hash;		/* of its text */
	u16 from;		/* in the path */
	u16 len;
	u32 pad;
};

/* Texts of the head that is being read. They outlive a packet only if the head is longer than it. */
struct ax_texts {
	struct ax_jseg seg[AX_POL_DEPTH];
	u8 method[32];
	u8 name[32];		/* of the field, in lower case, filled up with zeros */
	u8 val[AX_POL_TEXT + 8];
	u8 host[AX_POL_TEXT + 8];
	u8 path[AX_POL_PATH + AX_POL_TEXT + 8];
};

/* A connection by its packets' addresses: an IPv4 one in the first four bytes, ports in network byte order. */
struct ax_pair {
	u8 src[16];
	u8 dst[16];
	u32 ports;
	u32 ifindex;
};

#define AX_EARLY_DOUBT 1000000000ULL	/* ns: what was let by so long ago has been taken by TCP, or thrown away */
#define AX_EARLY_OLD (120 * AX_EARLY_DOUBT)	/* of a handshake that has been given up */

/* First data of a connection that its server has not accepted yet. */
struct ax_early {
	u64 at;
	struct ax_gate_state s;
	struct ax_told told;	/* of its first request */
	u8 memo[AX_WINDOW];
	struct ax_texts t;
};

/* Whose turn it is among places that go round. */
struct ax_turn {
	struct bpf_spin_lock lock;
	u32 next;
};

static __always_inline u32 ax_next_turn(struct ax_turn *turn)
{
	u32 i;

	bpf_spin_lock(&turn->lock);
	i = turn->next;
	turn->next = i + 1;
	bpf_spin_unlock(&turn->lock);
	return i;
}

#define AX_EARLIES 1024	/* a power of two */

/* The kernel's LRU is no bound for this: with many processors it gives up what has just been put in. So the places go round,
 * and what is younger than AX_EARLY_DOUBT keeps its own. */

AX_MAP(ax_early, BPF_MAP_TYPE_HASH, struct ax_pair, struct ax_early, AX_EARLIES, 0);
AX_MAP(ax_early_places, BPF_MAP_TYPE_ARRAY, u32, struct ax_pair, AX_EARLIES, 0);
AX_MAP(ax_early_turns, BPF_MAP_TYPE_ARRAY, u32, struct ax_turn, 1, 0);

#endif

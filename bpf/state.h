/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* state.h - what the kernel side keeps for itself: a connection's state and the work area of a run. */
#ifndef AX_STATE_H
#define AX_STATE_H

#include "platform.h"

#define AX_WINDOW 512		/* bytes of a message that are looked at together: the longest line seen whole */
#define AX_TAIL 16		/* bytes of a longer line that are kept while it is skipped: " HTTP/1.1\r" and spare */
#define AX_QUEUE 32		/* requests outstanding on a connection that are paired */
#define AX_NEST 4		/* runs nested on a CPU: process context, softirq, and spare for preemption */
#define AX_STEPS 256		/* lines and bodies looked at in one round */
#define AX_ROUNDS 16		/* rounds for one packet: 4,096 lines */
#define AX_CHUNK 2048		/* bytes in a piece of a packet that is kept for later */
#define AX_CHUNKS 36		/* pieces of a packet: 64 KiB and more */
#define AX_RUNS 8		/* stretches of out-of-order data a connection keeps */

/* Where in a message a direction stands. The phases up to AX_PH_TRAILER are read by lines. */
enum ax_phase {
	AX_PH_START = 0,	/* before or in a start line */
	AX_PH_FIELDS,		/* header fields */
	AX_PH_CHUNK,		/* chunk-size line (RFC 9112 section 7.1) */
	AX_PH_CHUNK_END,	/* line end behind a chunk's data */
	AX_PH_TRAILER,
	AX_PH_BODY,		/* `left` bytes of a body with Content-Length */
	AX_PH_DATA,		/* `left` bytes of a chunk */
	AX_PH_CLOSE,		/* body until the connection's end */
	AX_PH_DEAD,		/* nothing more can be read in this direction */
};

enum ax_dir_flag {
	AX_D_LENGTH = 1,	/* Content-Length seen in this head */
	AX_D_CHUNKED = 2,	/* the last transfer coding is chunked */
	AX_D_CODED = 4,		/* Transfer-Encoding seen */
	AX_D_LONG = 8,		/* in a line longer than the window: its beginning has been read */
	AX_D_HTTP10 = 16,
	AX_D_FRAMED = 32,	/* the last line was a framing field: a folded line behind it is refused */
	AX_D_ANY = 64,		/* `nxt` is not known yet: take the next packet as it comes */
	AX_D_TEXT = 128,	/* path and host of this request are kept in ax_cold */
};

/* One direction of a connection. One writer: the run whose packet begins at `nxt`, until it has written `nxt` anew,
 * which it does last. Two packets that arrive on two cores may run beside each other; the later one is kept then. */
struct ax_hot {
	u32 nxt;		/* sequence number expected next */
	u32 n;			/* requests whose head is complete; responses that are complete */
	u8 phase;
	u8 flags;
	u16 memo_len;		/* length of the head that the memo stands for; 0: none */
};

struct ax_rest {
	u64 left;		/* of the body or chunk; in a head: its Content-Length */
	u64 t0;			/* ns, first byte of the current message */
	union {
		u64 body;	/* bytes so far */
		u64 route;	/* in a request's head */
	};
	u32 over;		/* bytes of head and chunk framing so far */
	u16 carry;		/* bytes of an unfinished line, in ax_carry */
	u8 since;		/* messages counted since `snap_seq`, or AX_SINCE_MANY */
	u8 method;		/* of a request; responses: so many are to be read again without counting */
};

#define AX_SINCE_MANY 255	/* so many or more: they cannot be undone */

/* The working copy of a direction. */
struct ax_dir {
	struct ax_hot h;
	u32 snap_seq;		/* this sequence number was the start of a message (arriving direction only) */
	u64 memo;		/* keyed signature of the last head */
	struct ax_rest r;
};

enum ax_q_flag {
	AX_Q_DONE = 1,		/* the request is complete */
	AX_Q_HTTP10 = 2,
	AX_Q_TEXT = 4,		/* its path and host are in ax_cold */
};

/* A request that waits for its response. */
struct ax_q {
	u64 route;
	u64 body;
	u32 over;
	u8 method;
	u8 flags;
	u16 pad;
};

/* ... behind others */
struct ax_queued {
	struct ax_q q;
	u64 t0;
	u32 no;			/* its number on the connection */
	u32 pad;
};

enum ax_conn_flag {
	AX_C_LOOSE = 1,		/* found in mid-stream: data that is not a response's start is passed over */
	AX_C_DIR = 2,		/* while waiting for a request: direction of the last data */
};

/* What a direction of packets (not of messages) has seen. One writer each. */
enum ax_seen {
	AX_SEEN_RESET = 1,
	AX_SEEN_FIN = 2,
	AX_SEEN_GIVEN_UP = 4,	/* retransmitted in vain until its time was up */
};

/*
 * A connection. Its kernel element begins 8 bytes before this on a cache line, so the lines are: what every request
 * and response changes; what is the same from one to the next when a connection repeats itself; the rest. The two
 * directions often run on two cores (on loopback the sender's core runs the receiver's hook), and they alternate:
 * one line that moves between them is cheaper than two.
 */
struct ax_conn {
	struct ax_hot req;
	struct ax_hot resp;
	u64 t0;			/* first byte of the request in q0 */
	u32 snap_seq;
	u32 q0_no;		/* number of the request in q0 */
	u64 memo_left;		/* Content-Length of the response that the memo stands for */
	u16 memo_status;	/* its status */
	u16 status;		/* of the response that is under way */
	u8 seen[2];		/* enum ax_seen; arriving, leaving */
	u8 doubt;		/* what has arrived ends the reading, for this enum ax_stat, once TCP has taken it; or 0 */
	u8 early;		/* ax_ooo holds something; written under its lock */

	u8 kind;		/* enum ax_kind */
	u8 role;
	u8 flags;		/* enum ax_conn_flag */
	u8 turns;		/* while waiting for a request: changes of direction without one */
	u32 slot;		/* series of the last request ... */
	u32 gen;
	u16 slot_status;	/* ... and what it is the series of */
	u8 slot_method;
	u8 slot_flags;
	u64 slot_route;
	u64 req_memo;		/* keyed signatures of the last heads */
	u64 resp_memo;
	struct ax_q q0;		/* the request outstanding, if it was the only one when it came */

	struct ax_rest reqr;
	struct ax_rest respr;
	u8 doubt_kind;		/* what the connection is when the doubt has ended */
	u8 pad[7];
};

/* The cold half: only written when a head is parsed, only read when something is told of it. */
struct ax_cold {
	struct ax_key key;	/* all but route, method, status, version, error */
	u64 cookie;
	u32 pid;
	u32 tid;
	u16 lport;
	u16 rport;
	u16 path_len;
	u8 path_cut;
	u8 host_len;
	u8 host_cut;
	u8 pad[7];
	u8 laddr[16];
	u8 raddr[16];
	u8 host[AX_HOST];
	u8 path[AX_PATH];
};

/* What policies know of a server's socket. A child has its listener's. */
struct ax_guard {
	u64 cgroup;		/* the socket's; 0: nobody has asked yet */
	u64 client;		/* it has connected, and was not connected to: never selected */
	u64 now;		/* see AX_GUARD: written and read at once, for two cores may bring it up to date */
};

/* Whose a socket is: one element for all that ask, because a short connection pays for each. */
struct ax_owner {
	u32 pid;
	u32 tid;
	u64 cgroup;		/* of the process that has bound or connected it; 0: that was before the programs */
	u8 comm[AX_COMM];	/* of that process */
	struct ax_guard guard;
};

struct ax_pipe {
	struct ax_queued q[AX_QUEUE];
};

/* An unfinished line, and the state to go back to if TCP discards what was read last. By direction; a line is kept
 * beside the one that belongs to the snapshot, never over it. */
struct ax_carry {
	struct ax_dir snap[2];	/* valid at snap[].h.nxt if snap_ok[] */
	u32 snap_ok[2];
	u32 which[2];		/* of its two lines the direction uses this one, */
	u32 snap_which[2];	/* and the snapshot this one */
	u32 snap_status[2];
	u8 line[4][AX_WINDOW];
};

/* A stretch of out-of-order data. */
struct ax_run {
	u32 seq;
	u32 len;		/* 0: free */
	u8 kept;		/* its bytes are kept, in pieces one behind the other; else it lies within a body */
	u8 taken;		/* somebody is reading it */
	u16 pad;
};

/* Data that came early. Several runs at a time may keep a piece, and one reads: what they share is under the lock. */
struct ax_ooo {
	struct bpf_spin_lock lock;
	struct ax_run run[AX_RUNS];
	u32 fin;		/* the stream ends here, */
	u32 fin_known;		/* if this is not 0 */
	u32 full;		/* there was no room for some, */
	u32 out;		/* and what was left out ends here at the latest */
};

/* Bytes kept for later: out-of-order segments of a connection, first data on a listener. */
struct ax_chunk_key {
	u64 hi;
	u64 lo;
	u64 ports;
	u32 seq;
	u32 pad;
};

struct ax_chunk {
	u64 t;
	u32 len;
	u32 more;		/* bytes of the same packet behind this piece */
	u8 data[AX_CHUNK + AX_WINDOW];	/* a window may be read from any place */
};

/* What a finished request is counted and told with. */
struct ax_done {
	u64 t0;
	u64 duration;
	u64 ttfb;
	u64 route;
	u64 req_body;
	u64 resp_body;
	u64 req_wire;
	u64 resp_wire;
	u32 number;
	u16 status;
	u8 method;
	u8 version;
	u8 error;
	u8 q_flags;
	u8 first;
	u8 pad[5];
};

/* What a request of a judged connection was decided by. */
struct ax_told {
	u16 number;		/* of the request on its connection, the lower half */
	u16 policy;
	u16 rule;		/* see struct ax_pol_rule; 0xffff: none */
	u8 verdict;		/* enum ax_verdict */
	u8 deny;		/* enum ax_deny */
};

/* One run's work area. Per CPU and nesting level; `owner` is the run that holds it. */
struct ax_work {
	u64 owner;
	u64 now;		/* ns; 0: not asked yet */
	u32 base;		/* where the payload begins in the packet */
	u32 seq;		/* sequence number of the payload's first byte */
	s32 pos;		/* next byte to look at, from the payload's first; negative: in the carried line */
	s32 end;		/* length of the payload */
	s32 wbase;		/* position of win[0] */
	u32 wlen;
	u32 line_from;		/* the line that was found, in the window, */
	u32 line_to;		/* its line end excluded */
	u32 drain_seq;		/* where in the kept data a drain stands */
	u32 run_seq;		/* the run of kept data that is drained */
	u32 run_len;
	u32 run_kept;
	u8 dir;			/* 0 ingress, 1 egress */
	u8 resp;		/* 1: this direction carries responses */
	u8 kind;		/* the connection's, to be written back if it is not `was` */
	u8 was;
	u8 from_chunk;		/* the bytes come from `chunk`, not from the packet */
	u8 loose;		/* see AX_C_LOOSE */
	u8 tcp_flags;
	u8 cut;			/* the line found goes on behind the window */
	u16 status;		/* of the response that is under way */
	u16 memo_status;	/* see struct ax_conn */
	u8 path_cut;		/* the path is longer than what is kept of it */
	u8 why;			/* this packet ends the reading: enum ax_stat, or 0 */
	u8 lose;		/* why the stream cannot be followed, if `kind` becomes AX_KIND_SYNC */
	u8 fin;			/* the stream has reached an end that came early */
	u64 next_flow;		/* earliest time of the next background flow record on this CPU */
	u64 next_error;
	u64 memo_left;		/* see struct ax_conn */
	struct ax_dir d;
	struct ax_done done;
	struct ax_told told;	/* of the request that is told of */
	struct ax_key key;
	struct ax_wl_seen seen_key;
	struct ax_cold cold;	/* of the request that is told of */
	u32 slot;
	u32 gen;
	u32 seen;		/* observers that see it */
	u32 hit;
	u32 failed;
	u32 ident;		/* the caller, if it was judged */
	/* path */
	u32 path_from;		/* in the window */
	u32 path_len;
	u32 seg_from;
	u32 depth;
	u64 seg_hash;
	u64 seg_class;
	u32 tlen;
	u32 rt;			/* 1 + the pattern set that is matched; 0: none */
	u32 serial;		/* of the route table that the request was matched with */
	u64 bits[AX_RT_WORDS];
	struct ax_conn fresh;	/* of a connection that is met */
	struct ax_chunk_key ckey;
	struct ax_chunk chunk;
	struct ax_route tmpl;
	u8 spare[AX_WINDOW];	/* so that a copy from the template or the path may overrun */
	u8 win[2 * AX_WINDOW];
};

#endif

/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * area.h - the work area of a run in front of the socket, the policies' maps, and what is counted of verdicts.
 */
#ifndef AX_AREA_H
#define AX_AREA_H

#include "bytes.h"
#include "gates.h"

#define AX_BLOCK 64		/* bytes of a head that are compared at once */
#define AX_DIMS 64		/* room for AX_J_DIMS, a power of two */

/* A denied connection after its socket has gone. */
struct ax_tomb {
	u32 seq;		/* of the answer's first byte */
	u32 end;		/* behind its FIN */
	u32 ack;		/* what has come is acknowledged up to here */
	u16 policy;
	u8 head_only;
	u8 fin;			/* the client has ended its stream */
	u64 taken;		/* bytes thrown away */
	u32 turn;		/* of ax_tomb_places, that it was put in by */
	u32 had;		/* the client has acknowledged the whole answer */
};

/* One run's work area in front of the socket. Per CPU and nesting level, as struct ax_work is. */
struct ax_gw {
	u64 owner;
	u32 base;		/* where the payload begins in the packet */
	u32 seq;
	u32 pos;		/* of win[0] in the payload */
	u32 end;		/* length of the payload */
	u32 at;			/* next byte to look at, in the window */
	u32 wlen;
	u32 refills;
	u32 reason;		/* enum ax_deny */
	u32 verdict;		/* enum ax_verdict of the last head, */
	u32 policy;		/* what decided, */
	u32 rule;
	u32 heads;		/* heads that have been read in this packet, */
	u32 head_end;		/* and where the last one ended, from the payload's beginning */
	u32 framed;		/* where the last byte of a head, or of a chunk's framing, ended; 0: there was none */
	u32 soft;		/* nothing may be denied */
	u32 first;		/* no request of this connection has been read before */
	u32 number;		/* of the packet's first request on its connection */
	u32 texts;		/* `r` and `t` are of this packet's head */
	u32 untold;		/* a denial that no record is written of */
	u32 counted;		/* the packet's requests have been counted: it comes again */
	/* who and where */
	u64 cgroup;		/* of the server's socket */
	u64 peer_cgroup;
	u8 comm[AX_COMM];
	u8 peer_comm[AX_COMM];
	u8 laddr[16];
	u8 raddr[16];
	u32 lport;
	u32 ident;
	u32 block;
	u32 gen;		/* that judges this packet */
	u32 offs;		/* see struct ax_pol_ctl */
	u32 half;
	u32 held;		/* the server's cgroup is too new to be known */
	struct ax_pol_set set;
	/* the answer */
	u32 rcv_nxt;
	u32 snd_nxt;
	u32 snd_una;
	u32 sent;		/* the server has sent something */
	u32 ack;
	u32 tsval;
	u32 tsecr;
	u32 l2;
	u32 iplen;
	u32 ip6;
	u32 has_ts;
	u32 in;			/* redirect to the interface's ingress */
	s64 netns;		/* of the server's socket, as the interface's namespace numbers it; -1: its own */
	u32 tcp_flags;
	u32 optioned;		/* there are options other than timestamps */
	u32 ifindex;
	u64 request;		/* where the kernel has the socket of a handshake */
	u32 head_only;		/* the request was a HEAD: no body in the answer */
	u16 sport;		/* the packet's, in network byte order */
	u16 dport;
	u8 src[16];		/* the packet's: an IPv4 one in the first four bytes */
	u8 dst[16];
	u8 mac[16];
	struct ax_reading r;
	struct ax_pol_target target;
	struct ax_pol_caller caller;
	struct ax_pol_addr addr;
	struct bpf_sock_tuple tuple;
	struct ax_pair pair;
	struct ax_tomb tomb;
	u32 dim[AX_DIMS][2];	/* bitmaps that a request is judged by, see judge.h */
	u32 dims;
	struct ax_told told[AX_TOLD];	/* of the packet's requests */
	u32 text_len;
	u8 text[AX_POL_TEXT + 8];
	struct ax_texts t;
	u8 out[1024];
	u8 win[2 * AX_WINDOW + AX_BLOCK];
};

AX_MAP(ax_pol_ctl, BPF_MAP_TYPE_ARRAY, u32, struct ax_pol_ctl, 1, BPF_F_MMAPABLE);
AX_MAP(ax_pol_arena, BPF_MAP_TYPE_ARRAY, u32, u64, 1 << 16, BPF_F_MMAPABLE);
AX_MAP(ax_pol_dir, BPF_MAP_TYPE_ARRAY, u32, struct ax_pol_set, 2 * AX_POL_SETS, BPF_F_MMAPABLE);
AX_MAP(ax_pol_names, BPF_MAP_TYPE_ARRAY, u32, struct ax_pol_name, AX_POL_POLICIES, BPF_F_MMAPABLE);
AX_MAP(ax_pol_target, BPF_MAP_TYPE_HASH, struct ax_pol_target, u32, 32768, BPF_F_NO_PREALLOC);
AX_MAP(ax_pol_caller, BPF_MAP_TYPE_HASH, struct ax_pol_caller, u32, 32768, BPF_F_NO_PREALLOC);
AX_MAP(ax_pol_addr, BPF_MAP_TYPE_LPM_TRIE, struct ax_pol_addr, struct ax_pol_peer, 65536, BPF_F_NO_PREALLOC);
AX_MAP(ax_pol_counts, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct ax_pol_count, AX_POL_POLICIES, 0);
AX_MAP(ax_pol_denies, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64[AX_DENIES], 1, 0);
AX_MAP(ax_gates_work, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct ax_gw, 2, 0);

static __always_inline struct ax_gw *ax_gate_area(u32 lvl)
{
	return bpf_map_lookup_elem(&ax_gates_work, &lvl);
}

static __always_inline struct ax_pol_ctl *ax_pol_control(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&ax_pol_ctl, &zero);
}

static __always_inline u64 ax_cell_at(u32 i)
{
	u64 *cell = bpf_map_lookup_elem(&ax_pol_arena, &i);

	return cell ? *cell : 0;
}

static __always_inline void ax_deny_count(u32 why)
{
	u32 zero = 0;
	u64 *n = bpf_map_lookup_elem(&ax_pol_denies, &zero);

	if (n)
		n[why & (AX_DENIES - 1)]++;
}

static __always_inline void ax_verdict_count(u32 policy, u32 verdict)
{
	struct ax_pol_count *n = bpf_map_lookup_elem(&ax_pol_counts, &policy);

	if (n)
		n->verdict[verdict & (AX_VERDICT_MAX - 1)]++;
}

#endif

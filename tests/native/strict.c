// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/* strict.c - the gate's reader and its judge, compiled for the host: bytes of a stream in, what was decided out. */
#include <string.h>

#include "../../bpf/strict.h"
#include "fake.h"

#define VALUE(m, field) (sizeof(*(m).field) / sizeof(int))
#define DEFINE(m) nx_define(&(m), #m, VALUE(m, type), sizeof(*(m).key), sizeof(*(m).value), VALUE(m, max_entries), \
			    VALUE(m, map_flags))

/* Who asks whom, as the gate has found it out. */
struct st_ends {
	u32 ident;
	u32 block;
	u32 port;
	u32 soft;
};

/* What became of a packet. The texts are those of the head at hand. */
struct st_seen {
	s32 denied;
	u32 reason;		/* enum ax_deny */
	u32 heads;
	u32 verdict;		/* of the last head, as policy and rule */
	u32 policy;
	u32 rule;
	u32 phase;		/* enum ax_g_phase */
	u32 method_len;
	u32 path_len;
	u32 host_len;
	u64 left;
	u8 method[32];
	u8 path[AX_POL_PATH];
	u8 host[AX_POL_TEXT];
};

/* A connection's state between packets, as the gate keeps it. */
static struct {
	struct ax_reading r;
	struct ax_texts t;
	u32 n;
	struct st_ends ends;
	struct ax_pol_set set;
	u64 secret;
} conn;

/* Puts compiled policies where the judge looks for them. */
void st_load(const u64 *cells, u32 n)
{
	static int defined;

	if (!defined) {
		DEFINE(ax_gates_work);
		DEFINE(ax_pol_arena);
		DEFINE(ax_pol_counts);
		DEFINE(ax_pol_denies);
	}
	defined = 1;
	nx_resize("ax_pol_arena", n);
	memcpy(nx_map("ax_pol_arena")->data, cells, (size_t)n * sizeof(*cells));
}

/* A new connection to a workload that a set judges. */
void st_begin(const struct ax_pol_set *set, const struct st_ends *ends, u64 secret)
{
	memset(&conn, 0, sizeof(conn));
	conn.set = *set;
	conn.ends = *ends;
	conn.secret = secret;
}

/* A packet's payload. Work areas hold what earlier runs left behind. */
void st_feed(const u8 *payload, u32 len, struct st_seen *seen)
{
	struct nx_skb skb = { .data = (u8 *)payload };
	struct ax_gw *w = ax_gate_area(0);

	memset(w, 0xa5, sizeof(*w));
	skb.skb.len = len;
	w->base = w->pos = w->at = w->wlen = w->refills = w->reason = w->heads = w->head_end = w->framed = 0;
	w->end = len;
	w->set = conn.set;
	w->policy = conn.set.deny;
	w->ident = conn.ends.ident;
	w->block = conn.ends.block;
	w->lport = conn.ends.port;
	w->soft = conn.ends.soft;
	w->r = conn.r;
	w->first = !conn.n;
	if (conn.r.phase > AX_G_START_LF && conn.r.phase <= AX_G_PREFACE)
		w->t = conn.t;
	seen->denied = ax_g_read(&skb.skb, 0, conn.secret);
	conn.r = w->r;
	conn.t = w->t;
	conn.n += w->heads;
	seen->reason = w->reason;
	seen->heads = w->heads;
	seen->verdict = w->verdict;
	seen->policy = w->policy;
	seen->rule = w->rule;
	seen->phase = w->r.phase;
	seen->method_len = w->r.method_len;
	seen->path_len = w->r.path_len;
	seen->host_len = w->r.host_len;
	seen->left = w->r.left;
	memcpy(seen->method, w->t.method, sizeof(seen->method));
	memcpy(seen->path, w->t.path, sizeof(seen->path));
	memcpy(seen->host, w->t.host, sizeof(seen->host));
}

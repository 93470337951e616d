/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * active.h - what is open and in flight: an iterator over the connections' state, which runs when user space reads
 * it and costs nothing else. It only looks: the hooks go on beside it.
 */
#ifndef AX_ACTIVE_H
#define AX_ACTIVE_H

#include "maps.h"

#ifndef AX_NATIVE

/* As much of the kernel's structs as is read. */
struct sock;
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	void *map;
	struct sock *sk;
	struct ax_conn *value;
};

/* Of the session that is under way. There is one reader: the iterator is not pinned. */
struct ax_open ax_open;

/* The oldest request of a connection: its method, and when it began. */
static __always_inline void ax_look_at_oldest(struct sock *sk, struct ax_conn *c, u32 n, struct ax_active *a)
{
	struct ax_pipe *p;
	struct ax_queued *e;

	if (c->q0_no == n) {
		a->since = c->t0;
		a->method = c->q0.method;
		return;
	}
	p = bpf_sk_storage_get(&ax_pipe, sk, 0, 0);
	if (!p)
		return;
	e = &p->q[n & (AX_QUEUE - 1)];
	if (e->no != n)
		return;
	a->since = e->t0;
	a->method = e->q.method;
}

/* 0 if the record was written, or there is nothing to write. */
static __always_inline int ax_look_at(struct seq_file *seq, struct sock *sk, struct ax_conn *c)
{
	struct ax_active a = { .method = AX_METHOD_MAX };
	/* the answered first: what comes in between is then in flight, not less than nothing */
	u32 answered = AX_READ(c->resp.n), asked = AX_READ(c->req.n);
	struct ax_cold *cold;

	if (c->kind != AX_KIND_HTTP || asked == answered)
		return 0;
	cold = bpf_sk_storage_get(&ax_cold, sk, 0, 0);
	if (!cold)
		return 0;
	a.cgroup = cold->key.cgroup;
	__builtin_memcpy(a.comm, cold->key.comm, AX_COMM);
	a.port = cold->key.port;
	a.role = cold->key.role;
	a.pid = cold->pid;
	a.cookie = cold->cookie;
	a.requests = asked - answered;
	ax_look_at_oldest(sk, c, answered, &a);
	return bpf_seq_write(seq, &a, sizeof(a));
}

/* What does not fit into the reader's buffer is asked for again: it is counted when it has been written. */
static __always_inline void ax_look(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	u64 session = ctx->meta->session_id;
	struct ax_conn *c = ctx->value;
	struct sock *sk = ctx->sk;

	if (ax_open.session != session) {
		__builtin_memset(&ax_open, 0, sizeof(ax_open));
		ax_open.session = session;
	}
	if (!sk || !c)
		bpf_seq_write(seq, &ax_open, sizeof(ax_open));
	else if (!ax_look_at(seq, sk, c) && c->role < 2 && c->kind < AX_KIND_MAX)
		ax_open.conns[c->role & 1][c->kind]++;
}

#endif
#endif

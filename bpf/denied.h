/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* denied.h - telling user space of a request that its server never saw: as the hooks tell of one that was answered. */
#ifndef AX_DENIED_H
#define AX_DENIED_H

#include "flow.h"
#include "head.h"
#include "judge.h"

/* Copies what was read of the head: in another connection's head there may be more behind it. */
AX_GLOBAL int ax_denied_texts(u32 lvl, u32 area)
{
	struct ax_gw *g = ax_gate_area(lvl);
	struct ax_work *w = ax_area(area);
	struct ax_cold *cold;
	int m;

	if (!g || !w)
		return -1;
	cold = &w->cold;
	__builtin_memcpy(w->win, g->t.method, sizeof(g->t.method));
	w->win[AX_INDEX(g->r.method_len, 32)] = ' ';
	m = g->r.method_len && g->r.method_len < 32 ? ax_method_of(area, 0) : AX_METHOD_OTHER;
	w->done.method = m < 0 ? AX_METHOD_OTHER : m & 0xff;
	w->done.version = g->r.minor ? AX_VERSION_1_1 : AX_VERSION_1_0;
	cold->path_cut = g->r.path_len > AX_PATH;
	cold->path_len = cold->path_cut ? AX_PATH : g->r.path_len;
	cold->host_cut = g->r.host_len > AX_HOST;
	cold->host_len = cold->host_cut ? AX_HOST : g->r.host_len;
	__builtin_memcpy(cold->path, g->t.path, AX_PATH);
	__builtin_memcpy(cold->host, g->t.host, AX_HOST);
	w->done.q_flags = AX_Q_TEXT;
	return 0;
}

/* Tells of the request that has just been denied; `status` is that of our answer, or 0: the connection is reset. */
AX_GLOBAL int ax_tell_denied(struct __sk_buff *skb, u32 lvl, u32 status)
{
	struct ax_gw *g = ax_gate_area(lvl);
	struct ax_cold *cold;
	struct ax_work *w;
	u32 area;

	if (!g)
		return 0;
	if (g->untold) {
		ax_count(AX_DROP_FLOW_RATE);
		return 0;
	}
	w = ax_claim((u64)(long)skb, &area);
	if (!w)
		return 0;
	w->now = 0;
	__builtin_memset(&w->done, 0, sizeof(w->done));
	w->done.t0 = ax_now(w);
	w->done.route = AX_ROUTE_NONE;
	w->done.number = g->number + g->heads - (g->reason == AX_DENY_RULE);
	w->done.status = status;
	w->done.error = status ? AX_ERROR_NONE : AX_ERROR_RESET;
	w->told.verdict = AX_VERDICT_DROPPED;
	w->told.policy = g->policy;
	w->told.rule = 0xffff;
	w->told.deny = g->reason;
	w->ident = g->ident;
	cold = &w->cold;
	__builtin_memset(&cold->key, 0, sizeof(cold->key));
	cold->key.cgroup = g->cgroup;
	__builtin_memcpy(cold->key.comm, g->comm, AX_COMM);
	cold->key.port = g->lport;
	cold->key.role = AX_ROLE_SERVER;
	cold->cookie = 0;	/* the packet has no socket yet */
	cold->pid = cold->tid = 0;
	cold->lport = g->lport;
	cold->rport = bpf_ntohs(g->sport);
	__builtin_memcpy(cold->laddr, g->laddr, 16);
	__builtin_memcpy(cold->raddr, g->raddr, 16);
	if (g->texts)
		ax_denied_texts(lvl, area);
	ax_tell_of(area);
	w->owner = 0;
	return 0;
}

#endif

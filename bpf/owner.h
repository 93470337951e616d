/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* owner.h - which process made a socket: noted where its context is at hand, inherited by a listener's children. */
#ifndef AX_OWNER_H
#define AX_OWNER_H

#include "maps.h"

#ifndef AX_NATIVE
/* As much of the kernel's struct as is read; its offsets are relocated at load. */
struct task_struct {
	struct task_struct *group_leader;
	char comm[16];
} __attribute__((preserve_access_index));
#endif

static __always_inline int ax_own(struct bpf_sock_addr *ctx, int connects)
{
	struct bpf_sock *sk = ctx->sk;
	struct ax_owner *o;
	u64 id;

	if (!sk || ctx->type != 1 /* SOCK_STREAM */)
		return 1;
	o = bpf_sk_storage_get(&ax_owner, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!o)
		return 1;
	/* asked before it is refused: a socket is bound once, and whoever holds it then is not whose it is */
	if (!connects && o->cgroup && AX_READ(sk->src_port))
		return 1;
	o->guard.client = connects;
	o->guard.now = 0;	/* what selected it may have been the port that it had before */
	id = bpf_get_current_pid_tgid();
	o->pid = id >> 32;
	o->tid = id;
	o->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(o->comm, sizeof(o->comm));
#ifndef AX_NATIVE
	/* a thread may have a name of its own: the process's is its first thread's */
	if (o->pid != o->tid && (ax_config.kernel_has & AX_HAS_TASK_COMM)) {
		struct task_struct *task = (void *)bpf_get_current_task();
		struct task_struct *leader = BPF_CORE_READ(task, group_leader);

		bpf_core_read(o->comm, sizeof(o->comm), &leader->comm);
	}
#endif
	return 1;
}

#endif

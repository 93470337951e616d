// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * axon.bpf.c - the hooks. Each unpacks its context and calls what the headers hold:
 *   platform.h  state.h  maps.h     ground
 *   bytes.h  route.h  conn.h  head.h  framing.h  order.h     bytes -> messages -> requests
 *   series.h  flow.h                requests -> counts and records
 *   close.h  owner.h                the ends of a connection; whose it is
 *   gates.h  area.h  strict.h  judge.h  answer.h     policies: a request read strictly, judged, and answered
 *   workload.h  segment.h  caller.h     ... in front of the socket: whose it is, what a packet says, who asks
 *   payload.h  early.h  memo.h  known.h  position.h  options.h  established.h  listener.h     connections there
 *   gate.h  guard.h                 one packet there, and the socket's hook as the backstop
 *   active.h                        what is open and in flight, when somebody asks
 */
#include "packet.h"
#include "close.h"
#include "owner.h"
#include "active.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* What user space reads of the contract and no map holds: being named here puts it into the object's BTF. Never
 * called, so it is not loaded. */
struct ax_contract {
	struct ax_flow flow;
	struct ax_active active;
	enum ax_role role;
	enum ax_method method;
	enum ax_version version;
	enum ax_error error;
	enum ax_kind kind;
	enum ax_stat stat;
	enum ax_flow_flag flag;
	enum ax_filter_field field;
	enum ax_feature feature;
	enum ax_deny deny;
	enum ax_verdict verdict;
	enum ax_pol_mode mode;
	ax_u8 layout[AX_LAYOUT];	/* the version is this array's length */
};

AX_GLOBAL int ax_contract(const struct ax_contract *all)
{
	return !all;
}

/* cgroup_skb: 1 lets the packet pass. Only what a policy's gate should have judged, and has not, is dropped. */
SEC("cgroup_skb/ingress")
int ax_ingress(struct __sk_buff *skb)
{
	return ax_packet(skb, 0);
}

SEC("cgroup_skb/egress")
int ax_egress(struct __sk_buff *skb)
{
	return ax_packet(skb, 1);
}

#ifndef AX_NATIVE
SEC("tc")
int ax_gate(struct __sk_buff *skb)
{
	return ax_gate_packet(skb);
}
#endif

SEC("sockops")
int ax_sockops(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		ax_reborn(ops);
		goto wanted;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
#ifndef AX_NATIVE
		ax_gate_born(ops);
#endif
	wanted:
		bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG |
						       BPF_SOCK_OPS_RTO_CB_FLAG);
		break;
	case BPF_SOCK_OPS_RTO_CB:
		if (ops->args[2])	/* the connection will not be waited for any longer */
			ax_given_up(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == AX_TCP_CLOSE)
			ax_closed(ops);
		break;
	}
	return 1;
}

SEC("cgroup/sock_release")
int ax_release(struct bpf_sock *sk)
{
	if (ax_config.kernel_has & AX_HAS_RELEASE)
		ax_released(sk);
	return 1;
}

SEC("cgroup/connect4")
int ax_connect4(struct bpf_sock_addr *ctx)
{
	return ax_own(ctx, 1);
}

SEC("cgroup/connect6")
int ax_connect6(struct bpf_sock_addr *ctx)
{
	return ax_own(ctx, 1);
}

SEC("cgroup/bind4")
int ax_bind4(struct bpf_sock_addr *ctx)
{
	return ax_own(ctx, 0);
}

SEC("cgroup/bind6")
int ax_bind6(struct bpf_sock_addr *ctx)
{
	return ax_own(ctx, 0);
}

#ifndef AX_NATIVE
SEC("iter/bpf_sk_storage_map")
int ax_active(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	ax_look(ctx);
	return 0;
}
#endif

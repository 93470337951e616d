// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * floor.bpf.c - what any observer of packets in cgroup_skb pays, to measure Axon's programs against in the same
 * run: reads the headers, finds the socket's storage and writes to it, loads up to 256 bytes, takes the clock.
 * empty_*: what the kernel's statistics count for doing nothing.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct seen {
	__u64 packets;
	__u64 time;
	__u32 seq;
	__u32 len;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct seen);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[512]);
} bytes SEC(".maps");

static __always_inline int look(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bpf_sock *sk = skb->sk;
	__u32 zero = 0, off, n;
	struct seen *s;
	__u8 *th, *buf;

	if (!sk || data + 40 > end || *(__u8 *)data >> 4 != 4)
		return 1;
	off = (*(__u8 *)data & 15) * 4;
	th = data + off;
	if ((void *)th + 20 > end)
		return 1;
	off += (th[12] >> 4) * 4;
	if (skb->len <= off)
		return 1;
	n = skb->len - off;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	s = bpf_sk_storage_get(&seen, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	buf = bpf_map_lookup_elem(&bytes, &zero);
	if (!s || !buf)
		return 1;
	if (n > 256)
		n = 256;
	asm volatile("" : "+r"(n));
	n = ((n - 1) & 255) + 1;
	asm volatile("" : "+r"(n));
	if (bpf_skb_load_bytes(skb, off, buf, n))
		return 1;
	s->packets++;
	s->seq = bpf_ntohl(*(__u32 *)(th + 4)) + buf[0];
	s->len = n;
	s->time = bpf_ktime_get_ns();
	return 1;
}

SEC("cgroup_skb/ingress")
int floor_ingress(struct __sk_buff *skb)
{
	return look(skb);
}

SEC("cgroup_skb/egress")
int floor_egress(struct __sk_buff *skb)
{
	return look(skb);
}

SEC("cgroup_skb/ingress")
int empty_ingress(struct __sk_buff *skb)
{
	(void)skb;
	return 1;
}

SEC("cgroup_skb/egress")
int empty_egress(struct __sk_buff *skb)
{
	(void)skb;
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

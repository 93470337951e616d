// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * floor.bpf.c - what any observer of packets in cgroup_skb pays, to measure Axon's programs against in the same
 * run: reads the headers, finds the socket's storage and writes to it, loads up to 256 bytes, takes the clock.
 * One pair of programs for each step, so that each has its price; the first does nothing at all.
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

enum step { EMPTY, HEADERS, SOCKET, STORAGE, WRITTEN, LOADED, FLOOR };

static __always_inline int look(struct __sk_buff *skb, enum step step)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bpf_sock *sk = skb->sk;
	__u32 zero = 0, off, n, seq;
	struct seen *s;
	__u8 *th, *buf;

	if (step == EMPTY || !sk || data + 40 > end || *(__u8 *)data >> 4 != 4)
		return 1;
	off = (*(__u8 *)data & 15) * 4;
	th = data + off;
	if ((void *)th + 20 > end)
		return 1;
	off += (th[12] >> 4) * 4;
	seq = bpf_ntohl(*(__u32 *)(th + 4));
	asm volatile("" : "+r"(seq));
	if (skb->len <= off)
		return 1;
	n = skb->len - off;
	if (step == HEADERS)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk || step == SOCKET)
		return 1;
	s = bpf_sk_storage_get(&seen, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s || step == STORAGE)
		return 1;
	s->packets++;
	s->seq = seq;
	s->len = n;
	if (step == WRITTEN)
		return 1;
	buf = bpf_map_lookup_elem(&bytes, &zero);
	if (!buf)
		return 1;
	if (n > 256)
		n = 256;
	asm volatile("" : "+r"(n));
	n = ((n - 1) & 255) + 1;
	asm volatile("" : "+r"(n));
	if (bpf_skb_load_bytes(skb, off, buf, n) || step == LOADED)
		return 1;
	s->time = bpf_ktime_get_ns();
	return 1;
}

#define PAIR(name, step)						\
	SEC("cgroup_skb/ingress")					\
	int name##_ingress(struct __sk_buff *skb) { return look(skb, step); }	\
	SEC("cgroup_skb/egress")					\
	int name##_egress(struct __sk_buff *skb) { return look(skb, step); }

PAIR(empty, EMPTY)
PAIR(headers, HEADERS)
PAIR(socket, SOCKET)
PAIR(storage, STORAGE)
PAIR(written, WRITTEN)
PAIR(loaded, LOADED)
PAIR(floor, FLOOR)

char LICENSE[] SEC("license") = "Dual MIT/GPL";

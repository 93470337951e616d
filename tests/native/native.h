/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * native.h - what bpf/platform.h stands on when the machine is compiled for the host: maps as plain
 * memory, sockets and packets that a test makes up, and the kernel's helpers over both. Every helper
 * counts its calls, so that a test can make the n-th of a run fail, or let another packet be seen
 * during it as an interrupt would (fake.c).
 */
#ifndef AX_NATIVE_H
#define AX_NATIVE_H

#include <stdint.h>
#include <stddef.h>
#include <linux/bpf.h>

#define SEC(name)
#define __uint(name, value) int (*name)[value]
#define __type(name, what) __typeof__(what) *name

#define NX_CPUS 4
#define NX_SK_MAPS 8

/* A map. Its declaration in bpf/maps.h is a struct of pointers that are never read in the kernel; here the
 * first of them holds the map. */
struct nx_map {
	const char *name;
	int type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t entries;
	uint32_t flags;
	uint32_t used;		/* of a hash: elements; of a queue: elements; of a ring: bytes */
	uint32_t storage;	/* of a socket's storage: which */
	uint32_t head;		/* of a queue */
	uint32_t stride;	/* of an array: bytes from one entry to the next; between them lies a zone that stays 0 */
	uint8_t *data;		/* of arrays, queues and rings; per CPU one behind the other */
	struct nx_node **bucket;
	struct nx_node *oldest, *newest;
};

struct nx_sock {
	struct bpf_sock sk;
	struct bpf_tcp_sock tp;
	uint64_t cookie;
	uint64_t cgroup;
	uint32_t full;		/* 0: a request or time-wait socket, which has no storage */
	void *storage[NX_SK_MAPS];
};

/* A packet: its headers can be read directly, its payload only by bpf_skb_load_bytes, as with GRO. */
struct nx_skb {
	struct __sk_buff skb;
	struct nx_sock *sock;
	uint8_t *data;
	uint32_t linear;
};

#define AX_DATA(skb) ((void *)((struct nx_skb *)(skb))->data)
#define AX_DATA_END(skb) ((void *)(((struct nx_skb *)(skb))->data + ((struct nx_skb *)(skb))->linear))

struct nx_map *nx_map_of(const void *declared);
void *nx_lookup(struct nx_map *m, const void *key);
int nx_update(struct nx_map *m, const void *key, const void *value, uint64_t flags);
int nx_delete(struct nx_map *m, const void *key);
int nx_push(struct nx_map *m, const void *value);
int nx_pop(struct nx_map *m, void *value);
void *nx_storage(struct nx_map *m, struct bpf_sock *sk, const void *value, uint64_t flags);
int nx_storage_delete(struct nx_map *m, struct bpf_sock *sk);
void *nx_reserve(struct nx_map *m, uint64_t size);

/* 0: this call of a helper, made in the function of this name, is to fail. */
int nx_called(const char *helper);
#define nx_helper() nx_called(__func__)

#define bpf_map_lookup_elem(m, key) nx_lookup(nx_map_of(m), key)
#define bpf_map_update_elem(m, key, value, flags) nx_update(nx_map_of(m), key, value, flags)
#define bpf_map_delete_elem(m, key) nx_delete(nx_map_of(m), key)
#define bpf_map_push_elem(m, value, flags) nx_push(nx_map_of(m), value)
#define bpf_map_pop_elem(m, value) nx_pop(nx_map_of(m), value)
#define bpf_sk_storage_get(m, sk, value, flags) nx_storage(nx_map_of(m), sk, value, flags)
/* one run at a time is in here: the interrupt of a test comes at a helper's call, and this is none */
#define bpf_spin_lock(lock) ((void)(lock))
#define bpf_spin_unlock(lock) ((void)(lock))
#define bpf_sk_storage_delete(m, sk) nx_storage_delete(nx_map_of(m), sk)
#define bpf_ringbuf_reserve(m, size, flags) nx_reserve(nx_map_of(m), size)
#define bpf_ringbuf_submit(record, flags) ((void)(record))

struct bpf_sock *bpf_sk_fullsock(struct bpf_sock *sk);
struct bpf_tcp_sock *bpf_tcp_sock(struct bpf_sock *sk);
int bpf_skb_load_bytes(const void *skb, uint32_t offset, void *to, uint32_t len);
uint64_t bpf_get_socket_cookie(void *skb);
uint64_t bpf_sk_cgroup_id(struct bpf_sock *sk);
uint64_t bpf_ktime_get_ns(void);
uint64_t bpf_get_current_cgroup_id(void);
uint64_t bpf_get_current_pid_tgid(void);
long bpf_get_current_comm(void *to, uint32_t size);
uint32_t bpf_get_smp_processor_id(void);
int bpf_sock_ops_cb_flags_set(struct bpf_sock_ops *ops, int flags);

#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htons(x) __builtin_bswap16(x)
#define bpf_ntohl(x) __builtin_bswap32(x)
#define bpf_be64_to_cpu(x) __builtin_bswap64(x)

#endif

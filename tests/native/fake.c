// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/* fake.c - maps as plain memory, sockets, and the kernel's helpers over them. One thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define BUCKETS 1024
#define MAPS 32
#define ZONE 64

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(at, n) ASAN_POISON_MEMORY_REGION(at, n)
#define POISONED 1
#endif
#endif
#ifndef POISON
#define POISON(at, n)
#define POISONED 0
#endif

struct nx_node {
	struct nx_node *next;	/* in its bucket */
	struct nx_node *older, *newer;
	uint8_t *key;
	uint8_t value[] __attribute__((aligned(8)));
};

uint64_t nx_clock = 1;
uint64_t nx_lag;
uint32_t nx_cpu, nx_pid = 1, nx_tid = 1;
char nx_comm[16] = "native";
uint64_t nx_calls, nx_fail_from, nx_fail_to, nx_interrupt_at;
const char *nx_fail_helper;
void (*nx_interrupt)(void);

static struct nx_map *maps[MAPS];
static int map_count, storage_count;
static uint64_t next_cookie = 1;

int nx_called(const char *helper)
{
	void (*interrupt)(void) = nx_interrupt;

	nx_calls++;
	if (interrupt && nx_calls == nx_interrupt_at) {
		nx_interrupt = 0;
		interrupt();
	}
	if (nx_fail_helper && strcmp(helper, nx_fail_helper))
		return 1;
	return !(nx_calls >= nx_fail_from && nx_calls < nx_fail_to);
}

/* ---- maps ---- */

static int is_array(const struct nx_map *m)
{
	return m->type == BPF_MAP_TYPE_ARRAY || m->type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static int is_hash(const struct nx_map *m)
{
	return m->type == BPF_MAP_TYPE_HASH || m->type == BPF_MAP_TYPE_LRU_HASH;
}

static size_t memory(const struct nx_map *m)
{
	size_t all = (size_t)m->stride * m->entries;

	if (m->type == BPF_MAP_TYPE_RINGBUF)
		return m->entries;
	return m->type == BPF_MAP_TYPE_PERCPU_ARRAY ? all * NX_CPUS : all;
}

/* Entries of a per-CPU array, the work areas above all, have a zone behind them that nothing may write. */
static void make_data(struct nx_map *m)
{
	free(m->data);
	m->data = calloc(1, memory(m));
	if (m->type == BPF_MAP_TYPE_PERCPU_ARRAY)
		for (uint32_t i = 0; i < m->entries * NX_CPUS; i++)
			POISON(m->data + (size_t)i * m->stride + m->value_size, ZONE);
}

/* Has anything been written behind an entry? AddressSanitizer sees that by itself. */
NX_UNWATCHED int nx_zones_clean(void)
{
	static const uint8_t clean[ZONE];

	for (int i = 0; !POISONED && i < map_count; i++) {
		const struct nx_map *m = maps[i];

		if (m->type != BPF_MAP_TYPE_PERCPU_ARRAY)
			continue;
		for (uint32_t k = 0; k < m->entries * NX_CPUS; k++)
			if (memcmp(m->data + (size_t)k * m->stride + m->value_size, clean, ZONE))
				return 0;
	}
	return 1;
}

void nx_define(void *declared, const char *name, int type, uint32_t key_size, uint32_t value_size, uint32_t entries,
	       uint32_t flags)
{
	struct nx_map *m = calloc(1, sizeof(*m));

	m->name = name;
	m->type = type;
	m->key_size = key_size;
	m->value_size = value_size;
	m->entries = entries;
	m->flags = flags;
	m->stride = value_size + (type == BPF_MAP_TYPE_PERCPU_ARRAY ? ZONE : 0);
	if (type == BPF_MAP_TYPE_SK_STORAGE)
		m->storage = storage_count++;
	else if (is_hash(m))
		m->bucket = calloc(BUCKETS, sizeof(*m->bucket));
	else
		make_data(m);
	maps[map_count++] = m;
	*(struct nx_map **)declared = m;
}

NX_UNWATCHED struct nx_map *nx_map_of(const void *declared)
{
	return *(struct nx_map *const *)declared;
}

NX_UNWATCHED struct nx_map *nx_map(const char *name)
{
	for (int i = 0; i < map_count; i++)
		if (!strcmp(maps[i]->name, name))
			return maps[i];
	return 0;
}

void nx_resize(const char *name, uint32_t entries)
{
	struct nx_map *m = nx_map(name);

	nx_clear(m);
	if (m->entries == entries)
		return;
	m->entries = entries;
	if (m->data)
		make_data(m);
}

static void drop(struct nx_map *m, struct nx_node **at)
{
	struct nx_node *n = *at;

	*at = n->next;
	*(n->older ? &n->older->newer : &m->oldest) = n->newer;
	*(n->newer ? &n->newer->older : &m->newest) = n->older;
	free(n->key);
	free(n);
	m->used--;
}

NX_UNWATCHED static struct nx_node **find(struct nx_map *m, const uint8_t *key)
{
	struct nx_node **at;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (uint32_t i = 0; i < m->key_size; i++)
		h = (h ^ key[i]) * 0x100000001b3ULL;
	for (at = &m->bucket[(h ^ h >> 32) % BUCKETS]; *at; at = &(*at)->next)
		if (!memcmp((*at)->key, key, m->key_size))
			break;
	return at;
}

NX_UNWATCHED void nx_clear(struct nx_map *m)
{
	if (m->bucket && m->used)
		for (int i = 0; i < BUCKETS; i++)
			while (m->bucket[i])
				drop(m, &m->bucket[i]);
	if (is_array(m)) {
		uint32_t n = m->entries * (m->type == BPF_MAP_TYPE_PERCPU_ARRAY ? NX_CPUS : 1);

		for (uint32_t i = 0; i < n; i++)
			memset(m->data + (size_t)i * m->stride, 0, m->value_size);
	}
	m->used = m->head = 0;
}

void *nx_lookup(struct nx_map *m, const void *key)
{
	uint32_t i;

	nx_helper();	/* a look-up does not fail by itself */
	if (is_array(m)) {
		memcpy(&i, key, sizeof(i));
		if (i >= m->entries)
			return 0;
		if (m->type == BPF_MAP_TYPE_PERCPU_ARRAY)
			i += nx_cpu * m->entries;
		return m->data + (size_t)i * m->stride;
	}
	struct nx_node *n = *find(m, key);

	return n ? n->value : 0;
}

int nx_update(struct nx_map *m, const void *key, const void *value, uint64_t flags)
{
	struct nx_node **at, *n;
	uint32_t i;

	if (!nx_helper())
		return -ENOMEM;
	if (is_array(m)) {
		memcpy(&i, key, sizeof(i));
		if (i >= m->entries)
			return -E2BIG;
		memcpy(m->data + (size_t)i * m->stride, value, m->value_size);
		return 0;
	}
	at = find(m, key);
	if (*at) {
		if (flags == BPF_NOEXIST)
			return -EEXIST;
		memcpy((*at)->value, value, m->value_size);
		return 0;
	}
	if (flags == BPF_EXIST)
		return -ENOENT;
	if (m->used >= m->entries) {
		if (m->type != BPF_MAP_TYPE_LRU_HASH)
			return -E2BIG;
		drop(m, find(m, m->oldest->key));
		at = find(m, key);
	}
	n = calloc(1, sizeof(*n) + m->value_size);
	n->key = malloc(m->key_size);
	memcpy(n->key, key, m->key_size);
	memcpy(n->value, value, m->value_size);
	n->older = m->newest;
	*(m->newest ? &m->newest->newer : &m->oldest) = n;
	m->newest = n;
	*at = n;
	m->used++;
	return 0;
}

int nx_delete(struct nx_map *m, const void *key)
{
	struct nx_node **at;

	nx_helper();
	at = find(m, key);
	if (!*at)
		return -ENOENT;
	drop(m, at);
	return 0;
}

int nx_push(struct nx_map *m, const void *value)
{
	nx_helper();
	if (m->used >= m->entries)
		return -E2BIG;
	memcpy(m->data + (size_t)((m->head + m->used++) % m->entries) * m->value_size, value, m->value_size);
	return 0;
}

int nx_pop(struct nx_map *m, void *value)
{
	if (!nx_helper() || !m->used)
		return -ENOENT;
	memcpy(value, m->data + (size_t)m->head * m->value_size, m->value_size);
	m->head = (m->head + 1) % m->entries;
	m->used--;
	return 0;
}

/* Records lie one behind the other; a test empties the ring by setting `used` to 0. */
void *nx_reserve(struct nx_map *m, uint64_t size)
{
	if (!nx_helper() || m->used + size > m->entries)
		return 0;
	m->used += size;
	return m->data + m->used - size;
}

/* Copies up to `most` elements of a hash, oldest first; returns how many there are. */
uint32_t nx_dump(struct nx_map *m, uint8_t *keys, uint8_t *values, uint32_t most)
{
	uint32_t i = 0;

	for (struct nx_node *n = m->oldest; n && i < most; n = n->newer, i++) {
		memcpy(keys + (size_t)i * m->key_size, n->key, m->key_size);
		memcpy(values + (size_t)i * m->value_size, n->value, m->value_size);
	}
	return m->used;
}

/* ---- sockets ---- */

static void set_ends(struct bpf_sock *sk, const struct nx_ends *e)
{
	sk->family = e->family;
	sk->src_port = e->lport;
	sk->dst_port = bpf_htons((uint16_t)e->rport);
	if (e->family == 10) {
		memcpy(sk->src_ip6, e->local, 16);
		memcpy(sk->dst_ip6, e->remote, 16);
	} else {
		memcpy(&sk->src_ip4, e->local + 12, 4);
		memcpy(&sk->dst_ip4, e->remote + 12, 4);
	}
}

struct nx_sock *nx_sock_new(const struct nx_ends *ends, uint32_t state)
{
	struct nx_sock *s = calloc(1, sizeof(*s));

	set_ends(&s->sk, ends);
	s->sk.type = 1;
	s->sk.protocol = 6;
	s->sk.state = state;
	s->cookie = next_cookie++;
	s->cgroup = 4711;
	s->full = 1;
	return s;
}

/* A connection accepted by `listener`: it inherits the storages that are to be cloned. */
struct nx_sock *nx_sock_child(struct nx_sock *listener, const struct nx_ends *ends)
{
	struct nx_sock *s = nx_sock_new(ends, 1);

	s->cgroup = listener->cgroup;
	for (int i = 0; i < map_count; i++) {
		const struct nx_map *m = maps[i];

		if (m->type != BPF_MAP_TYPE_SK_STORAGE || !(m->flags & BPF_F_CLONE) || !listener->storage[m->storage])
			continue;
		s->storage[m->storage] = malloc(m->value_size);
		memcpy(s->storage[m->storage], listener->storage[m->storage], m->value_size);
	}
	return s;
}

void nx_sock_free(struct nx_sock *s)
{
	for (int i = 0; i < NX_SK_MAPS; i++)
		free(s->storage[i]);
	free(s);
}

static struct nx_sock *sock(struct bpf_sock *sk)
{
	return (struct nx_sock *)((uint8_t *)sk - offsetof(struct nx_sock, sk));
}

void *nx_storage(struct nx_map *m, struct bpf_sock *sk, const void *value, uint64_t flags)
{
	void **at = &sock(sk)->storage[m->storage];
	int ok = nx_helper();

	if (!*at && (flags & BPF_SK_STORAGE_GET_F_CREATE) && ok) {
		*at = calloc(1, m->value_size);
		if (value)
			memcpy(*at, value, m->value_size);
	}
	return *at;
}

void *nx_storage_of(const struct nx_sock *s, const struct nx_map *m)
{
	return s->storage[m->storage];
}

int nx_storage_delete(struct nx_map *m, struct bpf_sock *sk)
{
	void **at = &sock(sk)->storage[m->storage];

	nx_helper();
	if (!*at)
		return -ENOENT;
	free(*at);
	*at = 0;
	return 0;
}

struct bpf_sock *bpf_sk_fullsock(struct bpf_sock *sk)
{
	nx_helper();
	return sock(sk)->full ? sk : 0;
}

struct bpf_tcp_sock *bpf_tcp_sock(struct bpf_sock *sk)
{
	nx_helper();
	return sk->protocol == 6 ? &sock(sk)->tp : 0;
}

uint64_t bpf_sk_cgroup_id(struct bpf_sock *sk)
{
	return sock(sk)->cgroup;
}

uint64_t bpf_get_socket_cookie(void *skb)
{
	return ((struct nx_skb *)skb)->sock->cookie;
}

int bpf_skb_load_bytes(const void *skb, uint32_t offset, void *to, uint32_t len)
{
	const struct nx_skb *s = skb;

	if (!nx_helper() || !len || (uint64_t)offset + len > s->skb.len) {
		memset(to, 0, len);
		return -EFAULT;
	}
	memcpy(to, s->data + offset, len);
	return 0;
}

/* ---- the rest ---- */

uint64_t bpf_ktime_get_ns(void)
{
	nx_helper();
	return nx_clock;
}

uint64_t bpf_get_current_cgroup_id(void)
{
	return 7;
}

uint64_t bpf_get_current_pid_tgid(void)
{
	return (uint64_t)nx_pid << 32 | nx_tid;
}

long bpf_get_current_comm(void *to, uint32_t size)
{
	memcpy(to, nx_comm, size < sizeof(nx_comm) ? size : sizeof(nx_comm));
	return 0;
}

uint32_t bpf_get_smp_processor_id(void)
{
	return nx_cpu;
}

int bpf_sock_ops_cb_flags_set(struct bpf_sock_ops *ops, int flags)
{
	ops->bpf_sock_ops_cb_flags = flags;
	return 0;
}

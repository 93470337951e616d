/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* fake.h - the kernel's side that a test steers: sockets, packets, time, failures, interrupts. */
#ifndef NX_FAKE_H
#define NX_FAKE_H

#include "native.h"

/* Of no interest to a fuzzer: its way is to be found in the machine. */
#define NX_UNWATCHED __attribute__((no_sanitize("coverage")))

struct nx_options {
	uint32_t max_series;
	uint32_t shard_mask;
	uint32_t max_routes;
	uint32_t max_peers;
	uint32_t server;
	uint32_t client;
	uint32_t peers;
	uint32_t kernel_has;
};

/* One end of a connection, IPv6 or IPv4 mapped. `family` is the socket's (2 or 10), `v4` the packets'. */
struct nx_ends {
	uint8_t local[16];
	uint8_t remote[16];
	uint32_t lport;
	uint32_t rport;
	uint32_t family;
	uint32_t v4;
};

enum nx_flag { NX_FIN = 1, NX_SYN = 2, NX_RST = 4, NX_PSH = 8, NX_ACK = 16 };

/* The fake kernel. */
extern uint64_t nx_clock;	/* ns */
extern uint64_t nx_lag;	/* ns; a leaving segment was stamped by TCP so long before its hook runs */
extern uint32_t nx_cpu;
extern uint32_t nx_pid, nx_tid;
extern char nx_comm[16];
extern uint64_t nx_calls;	/* of helpers, since the last nx_reset */
extern uint64_t nx_fail_from, nx_fail_to;	/* these calls fail, */
extern const char *nx_fail_helper;	/* unless they are of another helper; 0: whichever they are of */
extern void (*nx_interrupt)(void);	/* called once, at call number nx_interrupt_at */
extern uint64_t nx_interrupt_at;

void nx_define(void *declared, const char *name, int type, uint32_t key_size, uint32_t value_size, uint32_t entries,
	       uint32_t flags);
void nx_resize(const char *name, uint32_t entries);
struct nx_map *nx_map(const char *name);
void nx_clear(struct nx_map *m);
int nx_zones_clean(void);
uint32_t nx_dump(struct nx_map *m, uint8_t *keys, uint8_t *values, uint32_t most);
struct nx_sock *nx_sock_new(const struct nx_ends *ends, uint32_t state);
struct nx_sock *nx_sock_child(struct nx_sock *listener, const struct nx_ends *ends);
void nx_sock_free(struct nx_sock *s);
void *nx_storage_of(const struct nx_sock *s, const struct nx_map *m);

/* The machine under it (harness.c). */
void nx_reset(const struct nx_options *options);
int nx_packet(struct nx_sock *s, uint32_t dir, uint32_t seq, uint32_t flags, const uint8_t *payload, uint32_t len,
	      const struct nx_ends *ends);
int nx_feed(struct nx_sock *s, uint64_t now, uint32_t dir, uint32_t seq, uint32_t flags, const uint8_t *payload,
	    uint32_t len, uint32_t rcv_nxt, uint32_t snd_nxt, uint32_t snd_una, uint64_t received, uint64_t acked);
int nx_raw(struct nx_sock *s, uint32_t dir, const uint8_t *bytes, uint32_t len, uint32_t linear);
int nx_state(struct nx_sock *s, uint32_t state);
void nx_set_state(struct nx_sock *s, uint32_t state);
int nx_timeout(struct nx_sock *s, uint32_t last);
int nx_release(struct nx_sock *s);
int nx_own(struct nx_sock *s, uint32_t how);
int nx_idle(void);
uint64_t nx_counted(void);
uint32_t nx_asked(const struct nx_sock *s);
uint32_t nx_bucket(uint64_t ns);
uint32_t nx_size_bucket(uint64_t bytes);

#endif

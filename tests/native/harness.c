// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/* harness.c - the whole machine, compiled for the host, and the few calls that tests drive it with. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../bpf/axon.bpf.c"
#include "fake.h"

#define VALUE(m, field) (sizeof(*(m).field) / sizeof(int))
#define DEFINE(m) nx_define(&(m), #m, VALUE(m, type), sizeof(*(m).key), sizeof(*(m).value), VALUE(m, max_entries), \
			    VALUE(m, map_flags))
#define DEFINE_SK(m) nx_define(&(m), #m, VALUE(m, type), 4, sizeof(*(m).value), 0, VALUE(m, map_flags))

static void define(void)
{
	DEFINE_SK(ax_conns);
	DEFINE_SK(ax_cold);
	DEFINE_SK(ax_pipe);
	DEFINE_SK(ax_carry);
	DEFINE_SK(ax_ooo);
	DEFINE_SK(ax_owner);
	DEFINE(ax_stash);
	DEFINE(ax_work);
	DEFINE(ax_stats);
	DEFINE(ax_cells);
	DEFINE(ax_slots);
	DEFINE(ax_series);
	DEFINE(ax_routes);
	DEFINE(ax_wl);
	DEFINE(ax_wl_seen);
	nx_define(&ax_free, "ax_free", VALUE(ax_free, type), 0, sizeof(u32), VALUE(ax_free, max_entries), 0);
	DEFINE(ax_ctl);
	DEFINE(ax_filters);
	DEFINE(ax_sought);
	DEFINE(ax_rt_set);
	DEFINE(ax_rt_seg);
	nx_define(&ax_flows, "ax_flows", VALUE(ax_flows, type), 0, 0, VALUE(ax_flows, max_entries), 0);
}

/* The loader's part: constants are written before the programs run. */
static void configure(const struct ax_config *to)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), at = (uintptr_t)&ax_config;
	uintptr_t from = at & -page, end = (at + sizeof(ax_config) + page - 1) & -page;

	AX_OPAQUE(at);	/* a compiler that knew it for a constant would leave the writing out */
	if (mprotect((void *)from, end - from, PROT_READ | PROT_WRITE))
		abort();
	memcpy((void *)at, to, sizeof(*to));
}

/* The state of the first start: empty maps, free slots, a secret. Work areas hold what earlier runs left behind. */
NX_UNWATCHED void nx_reset(const struct nx_options *o)
{
	static int defined;
	struct ax_config c = {
		.max_series = o->max_series, .shard_mask = o->shard_mask, .max_routes = o->max_routes,
		.max_peers = o->max_peers, .server = o->server, .client = o->client, .peers = o->peers,
		.kernel_has = o->kernel_has,
	};
	static const char *const names[] = {
		"ax_stash", "ax_stats", "ax_series", "ax_routes", "ax_wl", "ax_wl_seen", "ax_ctl", "ax_filters",
		"ax_sought", "ax_rt_set", "ax_rt_seg", "ax_flows",
	};

	if (!defined)
		define();
	defined = 1;
	configure(&c);
	nx_fail_from = nx_fail_to = nx_interrupt_at = 0;
	nx_fail_helper = 0;
	nx_interrupt = 0;
	nx_calls = 0;
	nx_cpu = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		nx_clear(nx_map(names[i]));
	nx_resize("ax_cells", c.max_series * (c.shard_mask + 1));
	nx_resize("ax_slots", c.max_series);
	nx_map("ax_series")->entries = c.max_series;
	nx_resize("ax_free", c.max_series);
	for (u32 slot = AX_SLOT_FIRST; slot < c.max_series; slot++)
		nx_push(nx_map("ax_free"), &slot);
	ax_control()->secret = 0x243f6a8885a308d3ULL;
	for (nx_cpu = 0; nx_cpu < NX_CPUS; nx_cpu++)
		for (u32 i = 0; i < AX_NEST; i++) {
			struct ax_work *w = ax_area(i);

			memset(w, 0xa5, sizeof(*w));
			w->owner = w->next_flow = w->next_error = 0;
		}
	nx_cpu = 0;
	nx_calls = 0;
}

#define NX_DAMAGED 0x100	/* beside TCP's flags: with a wrong checksum */

static int run(struct nx_skb *skb, uint32_t dir)
{
	return dir ? ax_egress(&skb->skb) : ax_ingress(&skb->skb);
}

static uint32_t summed(const u8 *bytes, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? (uint32_t)bytes[i] << 8 : bytes[i];
	return sum;
}

/* Writes the checksum: as on a wire, or `partial`, as between sockets of one host. */
static void sign(u8 *p, u8 *tcp, uint32_t len, int v4, int partial, int damaged)
{
	uint32_t rest = p + len - tcp, sum = bpf_htons(rest) + bpf_htons(AX_IPPROTO_TCP);
	u16 check;

	sum = v4 ? summed(p + 12, 8, sum) : summed(p + 8, 32, sum);
	if (!partial || damaged)
		sum = summed(tcp, rest, sum);
	check = ax_folded(sum);
	if (!partial || damaged)
		check = ~check ^ (damaged ? 0x5a5a : 0);
	memcpy(tcp + 16, &check, 2);
}

/* A packet of socket `s`, made up; its addresses are the socket's own unless `ends` says otherwise. */
int nx_packet(struct nx_sock *s, uint32_t dir, uint32_t seq, uint32_t flags, const uint8_t *payload, uint32_t len,
	      const struct nx_ends *ends)
{
	u32 options = seq & 12, partial = seq >> 4 & 1, head;	/* TCP headers of several lengths */
	int verdict, v4 = ends ? ends->v4 : s->sk.family == AX_AF_INET;
	struct nx_skb skb = { .sock = s };
	u8 *p, *tcp;

	head = (v4 ? 20 : 40) + 20 + options;
	p = skb.data = malloc(head + len);
	memset(p, 0, head);
	skb.linear = head;
	skb.skb.len = head + len;
	skb.skb.sk = &s->sk;
	skb.skb.tstamp = dir ? nx_clock - nx_lag : 0;
	if (v4) {
		p[0] = 0x45;
		p[9] = AX_IPPROTO_TCP;
		tcp = p + 20;
		if (ends) {
			memcpy(p + 12, (dir ? ends->local : ends->remote) + 12, 4);
			memcpy(p + 16, (dir ? ends->remote : ends->local) + 12, 4);
		}
	} else {
		p[0] = 0x60;
		p[6] = AX_IPPROTO_TCP;
		tcp = p + 40;
		if (ends) {
			memcpy(p + 8, dir ? ends->local : ends->remote, 16);
			memcpy(p + 24, dir ? ends->remote : ends->local, 16);
		}
	}
	if (ends) {
		u16 from = bpf_htons(dir ? ends->lport : ends->rport), to = bpf_htons(dir ? ends->rport : ends->lport);

		memcpy(tcp, &from, 2);
		memcpy(tcp + 2, &to, 2);
	}
	seq = bpf_ntohl(seq);
	memcpy(tcp + 4, &seq, 4);
	tcp[12] = (20 + options) / 4 << 4;
	tcp[13] = flags;
	if (len)
		memcpy(p + head, payload, len);
	sign(p, tcp, head + len, v4, partial, flags & NX_DAMAGED);
	verdict = run(&skb, dir);
	free(p);
	return verdict;
}

/* The same in one call with the clock and with what TCP says of itself while the hook runs. */
int nx_feed(struct nx_sock *s, uint64_t now, uint32_t dir, uint32_t seq, uint32_t flags, const uint8_t *payload,
	    uint32_t len, uint32_t rcv_nxt, uint32_t snd_nxt, uint32_t snd_una, uint64_t received, uint64_t acked)
{
	nx_clock = now;
	s->tp.rcv_nxt = rcv_nxt;
	s->tp.snd_nxt = snd_nxt;
	s->tp.snd_una = snd_una;
	s->tp.bytes_received = received;
	s->tp.bytes_acked = acked;
	return nx_packet(s, dir, seq, flags, payload, len, 0);
}

/* TCP has taken bytes that a hook has seen. */
void nx_taken(struct nx_sock *s, uint32_t rcv_nxt, uint64_t received)
{
	s->tp.rcv_nxt = rcv_nxt;
	s->tp.bytes_received = received;
}

/* A packet that is only bytes, of which the first `linear` can be read directly. */
int nx_raw(struct nx_sock *s, uint32_t dir, const uint8_t *bytes, uint32_t len, uint32_t linear)
{
	struct nx_skb skb = { .sock = s, .linear = linear };
	int verdict;

	skb.data = malloc(len ? len : 1);
	memcpy(skb.data, bytes, len);
	skb.skb.len = len;
	skb.skb.sk = s ? &s->sk : 0;
	verdict = run(&skb, dir);
	free(skb.data);
	return verdict;
}

/* The socket enters another TCP state, as the sockops hook is told. */
int nx_state(struct nx_sock *s, uint32_t state)
{
	struct bpf_sock_ops ops = { .op = BPF_SOCK_OPS_STATE_CB, .sk = &s->sk };

	ops.args[0] = s->sk.state;
	ops.args[1] = state;
	s->sk.state = state;
	return ax_sockops(&ops);
}

/* A connection that this side has asked for stands, on a socket that may have had others before. */
int nx_connected(struct nx_sock *s)
{
	struct bpf_sock_ops ops = { .op = BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, .sk = &s->sk };

	s->sk.state = 1;
	return ax_sockops(&ops);
}

void nx_set_state(struct nx_sock *s, uint32_t state)
{
	s->sk.state = state;
}

/* A retransmission timer has run out; `last`: nothing is sent any more. */
int nx_timeout(struct nx_sock *s, uint32_t last)
{
	struct bpf_sock_ops ops = { .op = BPF_SOCK_OPS_RTO_CB, .sk = &s->sk };

	ops.args[2] = last;
	return ax_sockops(&ops);
}

int nx_release(struct nx_sock *s)
{
	return ax_release(&s->sk);
}

/* A system call of the owning process: 0 connect4, 1 connect6, 2 bind4, 3 bind6. */
int nx_own(struct nx_sock *s, uint32_t how)
{
	struct bpf_sock_addr ctx = { .type = s->sk.type, .sk = &s->sk };

	switch (how) {
	case 0:
		return ax_connect4(&ctx);
	case 1:
		return ax_connect6(&ctx);
	case 2:
		return ax_bind4(&ctx);
	}
	return ax_bind6(&ctx);
}

/* Between two packets: is every work area free, and has nothing been written behind one? */
NX_UNWATCHED int nx_idle(void)
{
	u32 cpu = nx_cpu;
	int idle = nx_zones_clean();

	for (nx_cpu = 0; nx_cpu < NX_CPUS; nx_cpu++)
		for (u32 i = 0; i < AX_NEST; i++)
			if (ax_area(i)->owner)
				idle = 0;
	nx_cpu = cpu;
	return idle;
}

/* Requests counted so far, in whatever series. */
NX_UNWATCHED uint64_t nx_counted(void)
{
	const struct nx_map *m = nx_map("ax_cells");
	uint64_t n = 0;

	for (u32 i = 0; i < m->entries; i++) {
		const struct ax_cell *cell = (const void *)(m->data + (size_t)i * m->stride);

		for (int b = 0; b < AX_BUCKETS; b++)
			n += cell->hist[b];
	}
	return n;
}

/* Requests of a connection that have been read to their end. */
uint32_t nx_asked(const struct nx_sock *s)
{
	const struct ax_conn *c = nx_storage_of(s, nx_map("ax_conns"));

	return c ? c->req.n - (c->req.phase >= AX_PH_CHUNK && c->req.phase < AX_PH_DEAD) : 0;
}

uint32_t nx_bucket(uint64_t ns)
{
	return ax_bucket(ns);
}

uint32_t nx_size_bucket(uint64_t bytes)
{
	return ax_size_bucket(bytes);
}

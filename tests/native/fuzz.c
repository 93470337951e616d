// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * fuzz.c - the machine under libFuzzer. An input is a script: what connections exist, which packets their hooks see
 * (in order, early, again, damaged, cut), what becomes of the sockets, and which helpers fail. After every step the
 * books must be in order. The first byte chooses between such a script and one pair of streams that is read twice,
 * whole and in pieces, with the same outcome.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bpf/state.h"
#include "fake.h"

#define CONNS 2
#define HISTORY 16384
#define SERIES 8
#define SHARDS 2
#define ESTABLISHED 1

#define MUST(what)                                                              \
	do {                                                                    \
		if (!(what)) {                                                  \
			fprintf(stderr, "fuzz: must hold: %s\n", #what);        \
			abort();                                                \
		}                                                               \
	} while (0)

/* One direction of a connection: what has been sent, and up to where the other end has it. */
struct stream {
	uint32_t first;		/* sequence number of history[0] */
	uint32_t sent;
	uint32_t taken;
	uint8_t history[HISTORY];
};

struct conn {
	struct nx_sock *sock;
	struct stream way[2];	/* arriving, leaving */
	uint32_t before;	/* bytes each way that went by before the programs came */
};

static struct conn conns[CONNS];
static struct nx_sock *listener;
static struct nx_ends ends;
static const uint8_t *input;
static size_t left;
static uint64_t packets, line_ends, counted, before[AX_STATS];

/* ---- the script's bytes ---- */

static uint8_t take(void)
{
	if (!left)
		return 0;
	left--;
	return *input++;
}

static uint32_t take_word(void)
{
	uint32_t high = take();

	return high << 8 | take();
}

static uint32_t take_bytes(uint8_t *to, uint32_t n)
{
	if (n > left)
		n = left;
	memcpy(to, input, n);
	input += n;
	left -= n;
	return n;
}

/* ---- the books ---- */

NX_UNWATCHED static void sum_stats(uint64_t *sum)
{
	const struct nx_map *m = nx_map("ax_stats");

	memset(sum, 0, AX_STATS * sizeof(*sum));
	for (uint32_t cpu = 0; cpu < NX_CPUS; cpu++)
		for (uint32_t i = 0; i < AX_STATS; i++)
			sum[i] += ((const uint64_t *)(m->data + (size_t)cpu * m->stride))[i];
}

NX_UNWATCHED static uint64_t lost(const uint64_t *stats)
{
	uint64_t n = 0;

	for (uint32_t i = AX_LOST_MEMORY; i <= AX_LOST_ORPHAN; i++)
		n += stats[i];
	return n;
}

NX_UNWATCHED static void check_stats(void)
{
	uint64_t now[AX_STATS];

	sum_stats(now);
	for (uint32_t i = 0; i < AX_STATS; i++) {
		MUST(now[i] >= before[i]);
		MUST(i < AX_STAT_MAX || !now[i]);
	}
	MUST(lost(now) <= 64 * packets + line_ends);
	memcpy(before, now, sizeof(before));
}

/* A request has a start line and an empty line: there are no more of them than that. */
NX_UNWATCHED static void check_counts(void)
{
	uint64_t now = nx_counted();

	MUST(now >= counted);
	MUST(now <= line_ends / 2);
	MUST(before[AX_INFO_FLOWS] <= now);
	counted = now;
}

NX_UNWATCHED static void check_text(const uint8_t *text, uint32_t n)
{
	MUST(!n || text[0] == '/' || (n == 1 && text[0] == '*'));
	for (uint32_t i = 0; i < n; i++)
		MUST(text[i] != '?' && text[i] != '#' && text[i] != '\n');
}

NX_UNWATCHED static void check_flow(const struct ax_flow *f)
{
	MUST(f->path_len <= AX_PATH && f->host_len <= AX_HOST);
	MUST(f->method < AX_METHOD_MAX && f->version <= 1 && f->error < AX_ERROR_MAX && f->role <= 1);
	MUST(!f->status || (f->status >= 100 && f->status <= 999));
	MUST(f->status || f->error);
	MUST(f->req_wire >= f->req_body && f->resp_wire >= f->resp_body);
	MUST(f->start <= nx_clock && f->duration <= nx_clock - f->start && f->ttfb <= f->duration);
	check_text(f->path, f->path_len);
}

NX_UNWATCHED static void check_flows(void)
{
	struct nx_map *m = nx_map("ax_flows");

	MUST(m->used % sizeof(struct ax_flow) == 0);
	for (uint32_t at = 0; at < m->used; at += sizeof(struct ax_flow))
		check_flow((const void *)(m->data + at));
	m->used = 0;
}

NX_UNWATCHED static void check_conn(const struct nx_sock *s)
{
	const struct ax_conn *c = s ? nx_storage_of(s, nx_map("ax_conns")) : 0;

	if (!c)
		return;
	MUST(c->kind < AX_KIND_MAX && c->role <= 1);
	MUST(c->req.phase <= AX_PH_DEAD && c->resp.phase <= AX_PH_DEAD);
	MUST(c->reqr.carry < AX_WINDOW && c->respr.carry < AX_WINDOW);
	MUST(c->slot < SERIES);
}

/* A listener has no connection of its own: what it is sent belongs to its children. */
NX_UNWATCHED static void check_listener(void)
{
	static const char *const kept[] = { "ax_conns", "ax_cold", "ax_pipe", "ax_carry", "ax_ooo" };

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		MUST(!nx_storage_of(listener, nx_map(kept[i])));
}

NX_UNWATCHED static void check(void)
{
	MUST(nx_idle());
	check_stats();
	check_counts();
	check_flows();
	check_listener();
	for (int i = 0; i < CONNS; i++)
		check_conn(conns[i].sock);
}

/* Every slot is free, or one series', which knows it by its key. */
NX_UNWATCHED static void check_slots(void)
{
	static struct ax_key keys[SERIES];
	static struct ax_ref refs[SERIES];
	const struct nx_map *slots = nx_map("ax_slots");
	uint32_t n = nx_dump(nx_map("ax_series"), (uint8_t *)keys, (uint8_t *)refs, SERIES), seen = 0;

	MUST(n + nx_map("ax_free")->used + AX_SLOT_FIRST == SERIES);
	for (uint32_t i = 0; i < n; i++) {
		const struct ax_slot *slot = (const void *)(slots->data + (size_t)refs[i].slot * slots->stride);

		MUST(refs[i].slot >= AX_SLOT_FIRST && refs[i].slot < SERIES && !(seen >> refs[i].slot & 1));
		seen |= 1u << refs[i].slot;
		MUST(!memcmp(&slot->key, &keys[i], sizeof(keys[i])));
	}
}

NX_UNWATCHED static void check_routes(void)
{
	static uint64_t ids[64];
	static struct ax_route routes[64];
	uint32_t n = nx_dump(nx_map("ax_routes"), (uint8_t *)ids, (uint8_t *)routes, 64);

	for (uint32_t i = 0; i < n && i < 64; i++) {
		MUST(routes[i].len <= AX_PATH && ids[i] > AX_ROUTE_NONE);
		check_text(routes[i].text, routes[i].len);
	}
}

/* ---- what happens ---- */

NX_UNWATCHED static void note(const uint8_t *data, uint32_t n)
{
	packets++;
	for (uint32_t i = 0; i < n; i++)
		line_ends += data[i] == '\n';
}

/* With AXON_FUZZ_TRACE set, what happens is written down: to understand an input that was found. */
static void trace(const char *what, uint32_t a, uint32_t b, const uint8_t *data, uint32_t n)
{
	static int wanted = -1;

	if (wanted < 0)
		wanted = !!getenv("AXON_FUZZ_TRACE");
	if (!wanted)
		return;
	fprintf(stderr, "%s %u %u \"", what, a, b);
	for (uint32_t i = 0; i < n; i++)
		fprintf(stderr, data[i] < ' ' || data[i] > '~' ? "\\x%02x" : "%c", data[i]);
	fprintf(stderr, "\"\n");
}

/* Lets the hook see bytes `at`.. of a direction, as TCP stands. */
static void see(struct conn *c, uint32_t dir, uint32_t at, uint32_t flags, const uint8_t *data, uint32_t n)
{
	const struct stream *in = &c->way[0], *out = &c->way[1];

	note(data, n);
	trace(dir ? "leaves (connection, offset)" : "arrives (connection, offset)", (uint32_t)(c - conns), at, data, n);
	nx_feed(c->sock, nx_clock, dir, c->way[dir].first + at, flags | NX_ACK, data, n, in->first + in->taken,
		out->first + out->sent, out->first + out->taken, c->before + in->taken, c->before + out->taken);
}

/* The other end has it: bytes up to `end`, if nothing is missing before `at`. */
static void settle(struct conn *c, uint32_t dir, uint32_t at, uint32_t end)
{
	struct stream *s = &c->way[dir];

	if (end > s->sent)
		s->sent = end;
	if (at <= s->taken && end > s->taken)
		s->taken = end;
	if (!dir)	/* what arrives acknowledges what has left */
		c->way[1].taken = c->way[1].sent;
}

/* New bytes, `skip` behind what has been sent; they are lost behind the hook, or before it. */
static void fresh(struct conn *c, uint32_t dir, uint32_t flags, uint32_t skip, uint32_t n, int dropped, int unseen)
{
	struct stream *s = &c->way[dir];
	uint32_t at = s->sent + skip;

	if (n > left)
		n = left;
	if (at + n > HISTORY)
		return;
	n = take_bytes(s->history + at, n);
	if (!unseen)
		see(c, dir, at, flags, s->history + at, n);
	if (!dropped)
		settle(c, dir, at, at + n + (flags & NX_FIN));
}

/* Bytes that were sent before, as they were: `back` before the newest one. */
static void again(struct conn *c, uint32_t dir, uint32_t back, uint32_t n)
{
	struct stream *s = &c->way[dir];
	uint32_t at = back < s->sent ? s->sent - back : 0;

	if (at + n > s->sent)
		n = s->sent - at;
	see(c, dir, at, 0, s->history + at, n);
	settle(c, dir, at, at + n);
}

/* Another connection's packet, while this one's is looked at. */
static void interrupt(void)
{
	static const uint8_t ask[] = "GET /in/between HTTP/1.1\r\n\r\n";
	struct conn *c = &conns[CONNS - 1];

	if (c->sock && c->way[0].sent + sizeof(ask) < HISTORY) {
		memcpy(c->way[0].history + c->way[0].sent, ask, sizeof(ask) - 1);
		see(c, 0, c->way[0].sent, 0, ask, sizeof(ask) - 1);
		settle(c, 0, c->way[0].sent, c->way[0].sent + sizeof(ask) - 1);
	}
}

/* A connection begins, from the start or in its middle, accepted or not. */
static void begin(struct conn *c, uint8_t how)
{
	if (c->sock)
		nx_sock_free(c->sock);
	for (int dir = 0; dir < 2; dir++) {
		memset(&c->way[dir], 0, sizeof(c->way[dir]));
		c->way[dir].first = how & 4 ? 0xffffffe0 : 1000;
	}
	c->before = how & 2 ? 1000 : 0;
	ends.rport = 40000 + (uint32_t)(c - conns);
	c->sock = how & 1 ? nx_sock_child(listener, &ends) : nx_sock_new(&ends, ESTABLISHED);
	c->sock->full = !(how & 128);
}

/* Data of a connection that its listener has not accepted yet. */
static void early(struct conn *c, uint32_t n)
{
	struct stream *s = &c->way[0];

	if (n > left)
		n = left;
	if (s->sent + n > HISTORY)
		return;
	n = take_bytes(s->history + s->sent, n);
	note(s->history + s->sent, n);
	ends.rport = 40000 + (uint32_t)(c - conns);
	nx_packet(listener, 0, s->first + s->sent, NX_ACK, s->history + s->sent, n, &ends);
	settle(c, 0, s->sent, s->sent + n);
}

static void die(struct conn *c, uint8_t how)
{
	switch (how & 7) {
	case 0:
		nx_state(c->sock, AX_TCP_CLOSE);
		break;
	case 1:
		nx_set_state(c->sock, AX_TCP_CLOSE);
		break;
	case 2:
		nx_timeout(c->sock, how >> 3 & 1);
		break;
	case 3:
		nx_release(c->sock);
		break;
	case 4:
		see(c, how >> 3 & 1, c->way[how >> 3 & 1].sent, NX_RST, 0, 0);
		break;
	default:
		nx_own(c->sock, how >> 3 & 3);
	}
}

/* A pattern of the user's: /api and one segment more. */
static void put_pattern(struct ax_ctl *ctl)
{
	static const struct ax_rt_bits first = { .word = { 1 } };
	const struct ax_route route = { .len = 9, .pattern = 1, .text = "/api/{id}" };
	struct ax_rt_key key = { .depth = 0, .set = 0 };
	struct ax_rt_set *set = nx_lookup(nx_map("ax_rt_set"), &key.set);
	uint64_t id = 4711, hash = ctl->secret;

	for (const char *c = "api"; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3ULL;
	key.hash = hash ^ hash >> 32;
	nx_update(nx_map("ax_routes"), &id, &route, BPF_ANY);
	nx_update(nx_map("ax_rt_seg"), &key, &first, BPF_ANY);
	set->words = 1;
	set->wild[1][0] = set->len[2][0] = 1;
	set->route[0] = id;
	ctl->route_serial++;
}

/* What user space may change while traffic runs. */
static void turn(uint8_t how)
{
	uint32_t zero = 0, slot = AX_SLOT_FIRST + how % (SERIES - AX_SLOT_FIRST);
	struct ax_ctl *ctl = nx_lookup(nx_map("ax_ctl"), &zero);
	struct ax_filter *filter = nx_lookup(nx_map("ax_filters"), &zero);
	struct ax_slot *s = nx_lookup(nx_map("ax_slots"), &slot);

	ctl->filters = filter->active = how & 1;
	filter->use = how & 6 ? AX_FILTER_PATH | AX_FILTER_STATUS : 0;
	filter->path_len = how >> 1 & 3;
	memcpy(filter->path, "/a/", 3);
	filter->status_max = 500;
	ctl->slow_ns = how & 8 ? 1000 : 0;
	ctl->flow_interval = how & 16 ? 1 : 0;
	if (how & 32)
		put_pattern(ctl);
	if (how & 64 && s->created) {	/* the agent takes a series back */
		nx_delete(nx_map("ax_series"), &s->key);
		s->gen++;
		memset(&s->key, 0, sizeof(s->key));
		s->created = 0;
		nx_push(nx_map("ax_free"), &slot);
	}
}

static void raw(struct conn *c, uint8_t how)
{
	uint8_t bytes[128];
	uint32_t n = take_bytes(bytes, how & 127);

	note(bytes, n);
	nx_raw(how & 128 ? 0 : c->sock, how & 1, bytes, n, n ? take() % (n + 1) : 0);
}

/* The next of the kernel's helpers but `n` fails, or meets an interrupt. */
static void trouble(uint8_t how)
{
	uint32_t n = take();

	if (how & 1) {
		nx_interrupt = interrupt;
		nx_interrupt_at = nx_calls + n;
	} else {
		nx_fail_from = nx_calls + n;
		nx_fail_to = nx_fail_from + 1 + (how >> 1 & 7);
	}
}

/* One step: what happens in the low half of a byte; direction, connection and manner in the other. */
static void step(void)
{
	uint8_t op = take();
	uint32_t dir = op >> 4 & 1, how = op >> 6;
	struct conn *c = &conns[op >> 5 & 1];

	trace("step (operation, manner)", op & 15, how, input, left < 2 ? left : 2);
	switch (op & 15) {
	case 0:
	case 1:
	case 2:
	case 3:
		fresh(c, dir, 0, 0, op & 2 ? take_word() : take(), 0, 0);
		break;
	case 4:
		fresh(c, dir, 0, how & 1 ? take() : 0, take(), how & 2, 0);
		break;
	case 5:
		fresh(c, dir, 0, 0, take(), how & 1, how & 2);
		break;
	case 6:
		again(c, dir, how & 1 ? take() : take_word(), how & 2 ? take() : take_word());
		break;
	case 7:
		fresh(c, dir, how & 1 ? NX_FIN : NX_SYN, 0, how & 2 ? take() : 0, 0, 0);
		break;
	case 8:
		settle(c, dir, c->way[dir].taken, c->way[dir].sent);
		break;
	case 9:
		die(c, take());
		break;
	case 10:
		nx_clock += 1ULL << (take() & 37);
		break;
	case 11:
		nx_cpu = take() % NX_CPUS;
		break;
	case 12:
		trouble(take());
		break;
	case 13:
		turn(take());
		break;
	case 14:
		begin(c, take());
		break;
	case 15:
		if (how & 1)
			early(c, take());
		else
			raw(c, take());
		break;
	}
}

/* ---- the two games ---- */

static void start(uint8_t how)
{
	const struct nx_options options = {
		.max_series = SERIES, .shard_mask = SHARDS - 1, .max_routes = 6, .max_peers = 2,
		.server = !(how & 1), .client = !(how & 2), .peers = how >> 2 & 1, .kernel_has = how >> 3 & 1,
	};

	nx_reset(&options);
	nx_clock = 1000000000;
	memset(before, 0, sizeof(before));
	packets = line_ends = counted = 0;
	memset(&ends, 0, sizeof(ends));
	ends.family = how & 16 ? AX_AF_INET6 : AX_AF_INET;
	ends.v4 = !(how & 16);
	ends.local[15] = 1;
	ends.remote[15] = 2;
	memset(ends.local + 10, ends.v4 ? 0xff : 0, 2);
	memset(ends.remote + 10, ends.v4 ? 0xff : 0, 2);
	ends.lport = 8080;
	listener = nx_sock_new(&ends, AX_TCP_LISTEN);
	nx_own(listener, 2);
	for (int i = 0; i < CONNS; i++)
		begin(&conns[i], how >> 5);
}

static void finish(void)
{
	for (int i = 0; i < CONNS; i++) {
		nx_sock_free(conns[i].sock);
		conns[i].sock = 0;
	}
	nx_sock_free(listener);
}

static void play_script(void)
{
	start(take() & 0x7f);
	turn(1);
	while (left) {
		step();
		check();
	}
	check_slots();
	check_routes();
	finish();
}

/* What two readings of the same streams must have in common. */
struct outcome {
	uint64_t stats[AX_STATS];
	uint64_t requests, sums[4];
	uint8_t kind;
};

static void play_stream(uint32_t dir, const uint8_t *data, uint32_t n, uint32_t seed)
{
	struct conn *c = &conns[0];
	struct stream *s = &c->way[dir];

	while (s->sent < n) {
		uint32_t piece = n - s->sent;

		if (seed) {
			seed = seed * 1664525 + 1013904223;
			if (piece > 1 + (seed >> 16) % (seed >> 8 & 1 ? 4 : 64))
				piece = 1 + (seed >> 16) % (seed >> 8 & 1 ? 4 : 64);
		}
		memcpy(s->history + s->sent, data + s->sent, piece);
		see(c, dir, s->sent, 0, data + s->sent, piece);
		settle(c, dir, s->sent, s->sent + piece);
		check();
	}
	if (!n)
		return;
	see(c, dir, s->sent, NX_FIN, 0, 0);
	settle(c, dir, s->sent, s->sent + 1);
}

static struct outcome play_streams(uint8_t role, const uint8_t *data, uint32_t asked, uint32_t n, uint32_t seed)
{
	const struct nx_map *cells = nx_map("ax_cells");
	const struct ax_conn *c;
	struct outcome out = { 0 };

	start(0);
	turn(1);
	play_stream(role, data, asked, seed);
	play_stream(!role, data + asked, n - asked, seed);
	check();
	sum_stats(out.stats);
	out.requests = nx_counted();
	for (uint32_t i = 0; i < SERIES * SHARDS; i++) {
		const struct ax_cell *cell = (const void *)(cells->data + (size_t)i * cells->stride);

		out.sums[0] += cell->req_body;
		out.sums[1] += cell->resp_body;
		out.sums[2] += cell->req_wire;
		out.sums[3] += cell->resp_wire;
	}
	c = nx_storage_of(conns[0].sock, nx_map("ax_conns"));
	out.kind = c ? c->kind : 0;
	finish();
	return out;
}

static void play_twice(void)
{
	uint8_t how = take();
	uint32_t seed = take_word() | 1, asked = take_word();
	struct outcome whole, pieces;

	if (asked > left)
		asked = left;
	whole = play_streams(how & 1, input, asked, left, 0);
	pieces = play_streams(how & 1, input, asked, left, seed);
	MUST(whole.stats[AX_CONN_HTTP1] == pieces.stats[AX_CONN_HTTP1]);
	MUST(whole.requests == pieces.requests);
	MUST(!memcmp(whole.sums, pieces.sums, sizeof(whole.sums)));
	if (!whole.stats[AX_CONN_HTTP1])	/* what it is instead may be known by its first bytes only together */
		return;
	/* under which reason something is lost may depend on what is seen first */
	MUST(!lost(whole.stats) == !lost(pieces.stats));
	MUST(whole.kind == pieces.kind || lost(whole.stats));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int defined;

	input = data;
	left = size;
	if (!defined) {	/* so that maps can be found by name before the first game */
		defined = 1;
		start(0);
		finish();
	}
	if (take() & 1)
		play_twice();
	else
		play_script();
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * load.c - asks several servers in turn, from one core: saturated, or at a rate of so many requests a second.
 *
 *   load SECONDS TURN_MS WARM_MS RATE CONNECTIONS CLOSE SERVER_CPU CLIENT_CPU ADDRESS:PORT/PATH...
 *
 * RATE 0 saturates. CLOSE 1 makes a connection for each request. A turn ends when all answers have come, so no server
 * works while another is asked, and no answer waits for its server's next turn. What begins within WARM_MS of a turn's
 * beginning is counted, but its latency is not: caches still hold another server. "########" in a path is another number
 * in each request.
 *
 * Prints a line for each server: answers 200, 403, others, broken connections, answers within the turns and
 * the nanoseconds of these, nanoseconds that SERVER_CPU and CLIENT_CPU were not idle in them (at a rate this one never
 * is), P50 and P99 of the latency in nanoseconds.
 * A latency ends with the answer's last byte. It begins when the request (or its connection) is begun; at a rate, when it
 * was due.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <netinet/tcp.h>

#define MOST_SERVERS 16
#define MOST_CONNECTIONS 1024
#define SUB 128			/* buckets an octave: 0.8 % apart */
#define OCTAVES 40
#define PATIENCE 5000000000ULL	/* ns that the last answers of a turn may take */

struct connection {
	int fd;			/* -1: none */
	int sent, got;
	uint64_t began;
	char in[16384];
};

struct server {
	struct sockaddr_in address;
	char request[2048], *number;
	int len, poll, active;
	struct connection *connections, *idle[MOST_CONNECTIONS];
	int idles;
	uint64_t ok, denied, others, broken, within, time, busy[2];
	uint64_t histogram[OCTAVES * SUB];
};

static struct server servers[MOST_SERVERS];
static int connections, closing, stat_fd;
static char cpu_line[2][16];
static uint64_t ends, counted_from, rate;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Nanoseconds that the cores have been idle, or somebody else's. */
static void idle_time(uint64_t idle[2])
{
	static char text[65536];
	unsigned long long v[8];
	ssize_t n = pread(stat_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		fail("/proc/stat");
	text[n] = 0;
	for (int i = 0; i < 2; i++) {
		const char *line = strstr(text, cpu_line[i]);

		if (!line || sscanf(line + strlen(cpu_line[i]), "%llu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3,
				    v + 4, v + 5, v + 6, v + 7) != 8)
			fail("/proc/stat");
		idle[i] = (v[3] + v[4] + v[7]) * (1000000000ULL / sysconf(_SC_CLK_TCK));
	}
}

static void record(struct server *s, uint64_t ns)
{
	int octave = ns < SUB ? 0 : 63 - __builtin_clzll(ns) - 6;
	uint64_t at = octave ? (uint64_t)octave * SUB + (ns >> (octave - 1)) - SUB : ns;

	s->histogram[at < OCTAVES * SUB ? at : OCTAVES * SUB - 1]++;
}

static uint64_t percentile(const struct server *s, double share)
{
	uint64_t total = 0, sum = 0;

	for (int i = 0; i < OCTAVES * SUB; i++)
		total += s->histogram[i];
	for (int i = 0; i < OCTAVES * SUB; i++) {
		sum += s->histogram[i];
		if (sum && sum >= total * share)
			return i < SUB ? (uint64_t)i : (uint64_t)(i % SUB + SUB) << (i / SUB - 1);
	}
	return 0;
}

static void drop(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
}

/* Writes the request if the connection stands; a connection that broke is noticed when it is read. */
static void send_request(struct server *s, struct connection *c)
{
	static uint32_t number;
	ssize_t n;

	if (s->number) {
		number++;
		for (int i = 0; i < 8; i++)
			s->number[i] = "0123456789abcdef"[number >> 4 * i & 15];
	}
	n = send(c->fd, s->request, s->len, MSG_NOSIGNAL);

	if (n == s->len)
		c->sent = 1;
	else if (n >= 0)
		fail("a request was cut");
}

static void begin(struct server *s, uint64_t began)
{
	struct connection *c = s->idle[--s->idles];
	struct epoll_event want = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
	int one = 1;

	c->began = began;
	c->got = 0;
	c->sent = 0;
	s->active++;
	if (c->fd >= 0) {
		send_request(s, c);
		return;
	}
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		fail("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(s->poll, EPOLL_CTL_ADD, c->fd, &want))
		fail("epoll_ctl");
	if (connect(c->fd, (struct sockaddr *)&s->address, sizeof(s->address)) && errno != EINPROGRESS)
		fail("connect");
}

/* Is there a whole answer? Its status, 0: not yet, or -1: what came is none. */
static int whole(struct connection *c)
{
	char *body, *field;

	c->in[c->got] = 0;
	body = strstr(c->in, "\r\n\r\n");
	if (!body)
		return 0;
	if (strncmp(c->in, "HTTP/1.1 ", 9))
		return -1;
	field = strcasestr(c->in, "\r\ncontent-length:");
	if (!field || field > body)
		return -1;
	return c->in + c->got >= body + 4 + atoi(field + 17) ? atoi(c->in + 9) : 0;
}

static void finish(struct server *s, struct connection *c, int status)
{
	uint64_t t = now();

	if (status == 200)
		s->ok++;
	else if (status == 403)
		s->denied++;
	else if (status > 0)
		s->others++;
	else
		s->broken++;
	if (status > 0) {
		s->within += t < ends;
		if (c->began >= counted_from)
			record(s, t - c->began);
	}
	if (closing || status <= 0)
		drop(c);
	s->idle[s->idles++] = c;
	s->active--;
	if (t < ends && !rate)
		begin(s, t);
}

static void look(struct server *s, struct connection *c)
{
	int status;
	ssize_t n;

	if (!c->sent) {
		send_request(s, c);
		if (!c->sent && errno != EAGAIN && errno != ENOTCONN)
			finish(s, c, -1);
		return;
	}
	for (;;) {
		n = recv(c->fd, c->in + c->got, sizeof(c->in) - 1 - c->got, 0);
		if (n > 0) {
			c->got += n;
			status = closing ? 0 : whole(c);
			if (status) {
				finish(s, c, status);
				return;
			}
			if (!closing)
				return;
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		status = n || !c->got ? -1 : whole(c);
		finish(s, c, status > 0 ? status : -1);
		return;
	}
}

static void turn(struct server *s, uint64_t length, uint64_t warm)
{
	struct epoll_event events[256];
	uint64_t t = now(), began = t, due = t, idle[2], then[2], over = 0;

	idle_time(idle);
	ends = t + length;
	counted_from = t + warm;
	if (!rate)
		while (s->idles)
			begin(s, now());
	for (;;) {
		int n;

		t = now();
		if (t < ends && rate)
			for (; due <= t && s->idles; due += 1000000000ULL / rate)
				begin(s, due);
		if (t >= ends && !over) {
			over = t;
			idle_time(then);
			s->time += over - began;
			/* idle time comes in ticks: more of it than there was time is made up for in another turn */
			for (int i = 0; i < 2; i++)
				s->busy[i] += over - began - (then[i] - idle[i]);
		}
		if (over && !s->active)
			return;
		if (t > ends + PATIENCE) {
			errno = ETIMEDOUT;
			fail("answers do not come");
		}
		n = epoll_wait(s->poll, events, 256, rate && !over ? 0 : 1);
		for (int i = 0; i < n; i++)
			if (((struct connection *)events[i].data.ptr)->fd >= 0)
				look(s, events[i].data.ptr);
	}
}

static void open_server(struct server *s, const char *where)
{
	char address[64], path[1024];
	unsigned port;

	if (sscanf(where, "%63[^:]:%u%1023s", address, &port, path) != 3)
		fail(where);
	s->address.sin_family = AF_INET;
	s->address.sin_port = htons(port);
	inet_pton(AF_INET, address, &s->address.sin_addr);
	s->len = snprintf(s->request, sizeof(s->request), "GET %s HTTP/1.1\r\nHost: %s:%u\r\n%s\r\n", path, address, port,
			  closing ? "Connection: close\r\n" : "");
	s->number = strstr(s->request, "########");
	s->poll = epoll_create1(0);
	s->connections = calloc(connections, sizeof(*s->connections));
	if (s->poll < 0 || !s->connections)
		fail("memory");
	for (int i = 0; i < connections; i++) {
		s->connections[i].fd = -1;
		s->idle[s->idles++] = s->connections + i;
	}
}

int main(int argc, char **argv)
{
	uint64_t until, length, warm;
	int n = argc - 9;

	if (n < 1 || n > MOST_SERVERS || atoi(argv[5]) > MOST_CONNECTIONS)
		return 2;
	until = atof(argv[1]) * 1e9;
	length = atof(argv[2]) * 1e6;
	warm = atof(argv[3]) * 1e6;
	rate = atoi(argv[4]);
	connections = atoi(argv[5]);
	closing = atoi(argv[6]);
	for (int i = 0; i < 2; i++)
		snprintf(cpu_line[i], sizeof(cpu_line[i]), "cpu%d ", atoi(argv[7 + i]));
	stat_fd = open("/proc/stat", O_RDONLY);
	for (int i = 0; i < n; i++)
		open_server(servers + i, argv[9 + i]);
	until += now();
	for (int first = 0; now() < until; first++)
		for (int i = 0; i < n; i++)
			turn(servers + (first + i) % n, length, warm);
	for (int i = 0; i < n; i++) {
		struct server *s = servers + i;

		printf("%lu %lu %lu %lu %lu %lu %ld %ld %lu %lu\n", s->ok, s->denied, s->others, s->broken, s->within, s->time,
		       (long)s->busy[0], (long)s->busy[1], percentile(s, 0.5), percentile(s, 0.99));
	}
	return 0;
}

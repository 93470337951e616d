/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * axon.h - the contract: everything that crosses the boundary between the kernel and user space.
 *
 * User space does not repeat any of this. It reads the layouts and the enumerations from the BTF of
 * the compiled object (or, for maps that an older Axon pinned, from the BTF of the maps themselves).
 * All integers are in host byte order unless a comment says otherwise. Times are CLOCK_MONOTONIC ns.
 */
#ifndef AXON_H
#define AXON_H

/* Version of the layouts below. A pinned map of another version is read, carried over and replaced. */
#define AX_LAYOUT 6

/* Latency buckets: schema 3 of Prometheus native histograms, that is eight to the factor of two.
 * Bucket i of 1..214 holds durations in [2^((i-1)/8 - 20), 2^(i/8 - 20)) seconds: 0.95 us to 112 s.
 * Bucket 0 holds everything shorter, bucket 215 everything longer. */
#define AX_BUCKETS 216
#define AX_BUCKET_MIN_EXP (-20)

/* Size buckets: 0 is unused (an empty body is the count less the sum of the buckets);
 * bucket i of 1..11 holds bodies of at most 64 * 4^i bytes (256 B, 1 KiB, ... 256 MiB), 11 also more. */
#define AX_SIZES 12

#define AX_PATH 256	/* bytes of a path that are kept */
#define AX_HOST 64	/* bytes of the Host header that are kept */
#define AX_COMM 16
#define AX_FILTERS 8	/* live observers at a time */
#define AX_FILTER_TEXT 64	/* bytes of a path prefix */

/* Route tables (DESIGN: bit vectors by segment). */
#define AX_RT_DEPTH 16	/* path segments looked at; deeper paths fall back to the normaliser */
#define AX_RT_WORDS 8	/* 64-bit words a bitmap: 512 patterns a set */
#define AX_RT_SETS 2	/* one in use, one being written */

/* Two series that always exist: where requests go when every slot is taken. */
#define AX_SLOT_OTHER_SERVER 0
#define AX_SLOT_OTHER_CLIENT 1
#define AX_SLOT_FIRST 2

/* Route ids: 0 is "other" (over a bound), 1 a request without a usable path ("*", CONNECT's authority). */
#define AX_ROUTE_OTHER 0
#define AX_ROUTE_NONE 1

typedef unsigned char ax_u8;
typedef unsigned short ax_u16;
typedef unsigned int ax_u32;
typedef unsigned long long ax_u64;

enum ax_role {
	AX_ROLE_SERVER = 0,	/* the request arrived at this socket */
	AX_ROLE_CLIENT = 1,	/* the request left by this socket */
};

/* RFC 9110 section 9, RFC 5789; anything else is OTHER. */
enum ax_method {
	AX_METHOD_OTHER = 0,
	AX_METHOD_GET,
	AX_METHOD_HEAD,
	AX_METHOD_POST,
	AX_METHOD_PUT,
	AX_METHOD_DELETE,
	AX_METHOD_CONNECT,
	AX_METHOD_OPTIONS,
	AX_METHOD_TRACE,
	AX_METHOD_PATCH,
	AX_METHOD_MAX,
};

enum ax_version {
	AX_VERSION_1_0 = 0,
	AX_VERSION_1_1 = 1,
};

/* Why a request has no (complete) response. */
enum ax_error {
	AX_ERROR_NONE = 0,
	AX_ERROR_NO_RESPONSE,	/* the connection was closed before a response began */
	AX_ERROR_RESET,		/* reset before a response began */
	AX_ERROR_INCOMPLETE,	/* the response began but did not end */
	AX_ERROR_TIMEOUT,	/* the connection died without a packet: retransmission or keep-alive timeout */
	AX_ERROR_MAX,
};

/* What a connection turned out to carry. */
enum ax_kind {
	AX_KIND_NEW = 0,	/* nothing seen yet */
	AX_KIND_SYNC,		/* older than the programs: waiting for the next request */
	AX_KIND_HTTP,		/* HTTP/1.0 or 1.1 */
	AX_KIND_CLOSED,		/* HTTP, and everything about it has been counted */
	/* from here on a packet is left at the first branch */
	AX_KIND_TLS,
	AX_KIND_HTTP2,
	AX_KIND_UPGRADED,	/* 101 or CONNECT: no longer HTTP */
	AX_KIND_OPAQUE,		/* another protocol */
	AX_KIND_BROKEN,		/* was HTTP; its framing was lost or is invalid, see the counters of losses */
	AX_KIND_MAX,
};

/*
 * One list of everything that is counted beside requests. The label in /metrics is the lower-case
 * name behind the prefix; the comment is the text in the documentation (`make docs`).
 *   CONN_*  connections by what they carry
 *   LOST_*  requests, or the position in a stream, that could not be followed
 *   DROP_*  flow records that were not shown (the requests themselves are counted)
 *   INFO_*  events that lose nothing
 */
enum ax_stat {
	AX_CONN_HTTP1 = 0,	/* HTTP/1.0 and 1.1: read */
	AX_CONN_TLS,		/* TLS: not read */
	AX_CONN_HTTP2,		/* HTTP/2 with prior knowledge: not read */
	AX_CONN_UPGRADED,	/* left HTTP by 101 (WebSocket, h2c) or CONNECT: not read any further */
	AX_CONN_OTHER,		/* another protocol: not read */

	AX_LOST_MEMORY,		/* no memory for a connection's state: its requests are not seen */
	AX_LOST_NESTED,		/* a work area was overwritten by a nested run (needs full preemption): connection given up */
	AX_LOST_GAP,		/* bytes reached the application that the hooks did not see */
	AX_LOST_REORDER,	/* more out-of-order data than the buffer holds */
	AX_LOST_TENTATIVE,	/* bytes that TCP had not taken came again and could not be undone: what was read first stands, or nothing until the next request */
	AX_LOST_PIPELINE,	/* more than 32 requests outstanding on a connection: the excess is not paired */
	AX_LOST_BAD_REQUEST,	/* a request head that is not HTTP/1, after valid ones: connection given up */
	AX_LOST_BAD_RESPONSE,	/* a response head that is not HTTP/1: connection given up */
	AX_LOST_BAD_LENGTH,	/* an invalid or contradictory Content-Length or Transfer-Encoding: connection given up */
	AX_LOST_BAD_CHUNK,	/* invalid chunked framing: connection given up */
	AX_LOST_LOAD,		/* the kernel would not hand over a packet's bytes */
	AX_LOST_LONG_PACKET,	/* a packet with more lines than a run may look at: connection given up */
	AX_LOST_EARLY,		/* first data on a listening socket that found no place in its table */
	AX_LOST_ORPHAN,		/* a response to no request that was seen */

	AX_INFO_TRUNCATED_PATH,	/* paths longer than 256 bytes: kept up to there */
	AX_INFO_OTHER_SERIES,	/* requests counted under "other" because every series is taken */
	AX_INFO_OTHER_ROUTE,	/* requests counted under route "other" because their workload has too many */
	AX_INFO_OTHER_PEER,	/* requests counted under no peer because their workload has too many */
	AX_INFO_ROUTES_FULL,	/* new routes that found the route table full */
	AX_INFO_STALE_SLOT,	/* cached series that had been retired: looked up again */
	AX_INFO_REWOUND,	/* segments that TCP discarded: undone and read again */
	AX_INFO_REORDERED,	/* out-of-order segments that were kept and read in order */
	AX_INFO_EARLY_DATA,	/* first data on a listening socket, adopted by its connection */
	AX_INFO_PARSED,		/* packets that took the full parser: the head was not the connection's last one again */
	AX_INFO_NEST,		/* runs nested on their CPU */
	AX_INFO_ANSWER_LEFT,	/* denied connections forgotten for newer ones before their client had acknowledged the whole answer: what it sends again is reset */

	AX_DROP_FLOW_RATE,	/* over the rate bound */
	AX_DROP_FLOW_RING,	/* the ring buffer was full */
	AX_INFO_FLOWS,		/* flow records written */
	AX_STAT_MAX,
};

#define AX_STATS 64	/* room, so that a new counter does not change the layout */

/* A series. 56 bytes, no padding: it is hashed as it is. */
struct ax_key {
	ax_u64 cgroup;		/* cgroup v2 id of the local socket */
	ax_u64 route;		/* ax_routes' key, or AX_ROUTE_* */
	ax_u8 peer[16];		/* the other end's address (IPv4 mapped), or zero: not told apart */
	ax_u8 comm[AX_COMM];	/* process that made the socket (or its listener); zero where unknown */
	ax_u16 port;		/* the server's port, in host byte order */
	ax_u16 status;		/* 0: no response */
	ax_u8 role;		/* enum ax_role */
	ax_u8 method;		/* enum ax_method */
	ax_u8 version;		/* enum ax_version */
	ax_u8 error;		/* enum ax_error */
};

/* What a series counts, in one of `shards` copies (see struct ax_config): cell = shard * max_series + slot. */
struct ax_cell {
	ax_u64 dur_sum;		/* ns, first byte of the request to last byte of the response */
	ax_u64 ttfb_sum;	/* ns, first byte of the request to first byte of the response */
	ax_u64 req_body;	/* bytes, without chunk framing */
	ax_u64 resp_body;
	ax_u64 req_wire;	/* bytes, head and chunk framing included */
	ax_u64 resp_wire;
	ax_u64 spare[2];
	ax_u64 req_size[AX_SIZES];
	ax_u64 resp_size[AX_SIZES];
	ax_u64 hist[AX_BUCKETS];	/* the number of requests is the sum of these */
};

/* Who a slot belongs to. Written by the kernel when a slot is taken; `gen` is raised by user space
 * when it takes the slot back, which makes every cached reference to it stale. */
struct ax_slot {
	struct ax_key key;
	ax_u64 created;		/* ns; 0: free */
	ax_u32 gen;
	ax_u32 pid;		/* of the connection that created it; 0: unknown */
};

/* ax_series: struct ax_key -> struct ax_ref */
struct ax_ref {
	ax_u32 slot;
	ax_u32 gen;
};

/* ax_routes: u64 -> struct ax_route. */
struct ax_route {
	ax_u16 len;
	ax_u8 truncated;	/* the path was longer than AX_PATH */
	ax_u8 pattern;		/* 1: put there by user space with its patterns, 0: by the normaliser */
	ax_u32 set;		/* for patterns: the table's serial number */
	ax_u64 created;
	ax_u8 text[AX_PATH];
};

/* ax_wl: the bounds of one workload. */
struct ax_wl_key {
	ax_u64 cgroup;
	ax_u8 comm[AX_COMM];
	ax_u16 port;
	ax_u8 role;
	ax_u8 pad[5];
};

struct ax_wl {
	ax_u32 routes;
	ax_u32 peers;
};

/* ax_wl_seen: which routes and peers of a workload have been let in. */
struct ax_wl_seen {
	struct ax_wl_key wl;
	ax_u64 hi;		/* a peer's address, or 0 and the route */
	ax_u64 lo;
	ax_u64 what;		/* 0: route, 1: peer */
};

/* Flow records, errors and first sightings. */
enum ax_flow_flag {
	AX_FLOW_FIRST = 1,	/* first sighting of a series */
	AX_FLOW_SLOW = 2,
	AX_FLOW_ERROR = 4,	/* 5xx, or no complete response */
	AX_FLOW_SAMPLED = 8,	/* passed the background rate bound */
	AX_FLOW_PATH_CUT = 16,	/* path longer than AX_PATH */
	AX_FLOW_NO_TEXT = 32,	/* pipelined: path and host were not kept, the route stands for them */
	AX_FLOW_HOST_CUT = 64,
	AX_FLOW_DENIED = 128,	/* denied, or let by only because its policy audits */
};

struct ax_flow {
	ax_u64 start;		/* ns, first byte of the request */
	ax_u64 duration;	/* ns */
	ax_u64 ttfb;		/* ns; 0: no response */
	ax_u64 req_body;
	ax_u64 resp_body;
	ax_u64 req_wire;
	ax_u64 resp_wire;
	ax_u64 cgroup;
	ax_u64 route;
	ax_u64 cookie;		/* the socket's */
	ax_u32 number;		/* of the request on its connection, from 0 */
	ax_u32 pid;
	ax_u32 tid;
	ax_u32 ident;		/* of the caller, enum ax_ident; of a judged request */
	ax_u16 status;
	ax_u16 lport;
	ax_u16 rport;
	ax_u16 path_len;
	ax_u16 policy;		/* that decided, of a judged request: entry of ax_pol_names; 0: none */
	ax_u16 rule;		/* that allowed it, as in struct ax_pol_rule; 0xffff: none */
	ax_u8 host_len;
	ax_u8 role;
	ax_u8 method;
	ax_u8 version;
	ax_u8 error;
	ax_u8 flags;		/* enum ax_flow_flag */
	ax_u8 matched;		/* bit i: filter i matched and let it through its rate bound */
	ax_u8 verdict;		/* enum ax_verdict */
	ax_u8 deny;		/* why it was denied, enum ax_deny */
	ax_u8 pad[3];
	ax_u8 laddr[16];	/* IPv4 mapped */
	ax_u8 raddr[16];
	ax_u8 comm[AX_COMM];
	ax_u8 host[AX_HOST];
	ax_u8 path[AX_PATH];
};

/* What the iterator over connections writes when it is read: one of these for each connection with requests in
 * flight, and at the end one struct ax_open. The fields up to `method` are what the requests are grouped by. */
struct ax_active {
	ax_u64 cgroup;		/* as in struct ax_key */
	ax_u8 comm[AX_COMM];
	ax_u16 port;
	ax_u8 role;
	ax_u8 method;		/* of the oldest request; AX_METHOD_MAX: unknown */
	ax_u32 pid;
	ax_u64 since;		/* ns, first byte of the oldest request; 0: unknown */
	ax_u64 cookie;		/* the socket's */
	ax_u32 requests;	/* heads that are complete and whose responses are not */
	ax_u32 pad;
};

/* Sockets that are open, by what they carry. `role` of what is not HTTP is the direction of the first data. */
struct ax_open {
	ax_u64 session;		/* of reading */
	ax_u64 conns[2][AX_KIND_MAX];	/* enum ax_role, enum ax_kind */
};

/* One live observer's filter. A field counts if its bit is in `use`; its sense is turned by `negate`. */
enum ax_filter_field {
	AX_FILTER_METHOD = 1,
	AX_FILTER_STATUS = 2,
	AX_FILTER_PORT = 4,	/* either end */
	AX_FILTER_ADDR = 8,	/* either end, by prefix */
	AX_FILTER_DURATION = 16,	/* at least */
	AX_FILTER_PATH = 32,	/* prefix */
	AX_FILTER_COMM = 64,
	AX_FILTER_ROLE = 128,
	AX_FILTER_CGROUP = 256,	/* one of those that ax_sought has for the filter */
	AX_FILTER_ERROR = 512,	/* 5xx or no complete response */
	AX_FILTER_LPORT = 1024,	/* the server's port */
	AX_FILTER_VERDICT = 2048,
};

struct ax_filter {
	ax_u32 active;
	ax_u32 use;
	ax_u32 negate;
	ax_u32 methods;		/* bit per enum ax_method */
	ax_u16 status_min;
	ax_u16 status_max;
	ax_u16 port;
	ax_u16 lport;
	ax_u64 min_ns;
	ax_u64 interval;	/* ns between records: the rate bound; 0: none */
	ax_u8 addr[16];
	ax_u32 addr_bits;	/* of the mapped address: 96 more than of an IPv4 one */
	ax_u32 role;
	ax_u32 path_len;
	ax_u32 verdicts;	/* bit per enum ax_verdict */
	ax_u8 path[AX_FILTER_TEXT];
	ax_u8 comm[AX_COMM];
	ax_u64 next;		/* kernel's: earliest time of the next record */
	ax_u64 matched;		/* kernel's: how many requests matched */
	ax_u64 shown;		/* kernel's: how many of them were written */
};

/* ax_sought: the cgroups that a filter with AX_FILTER_CGROUP is about. */
struct ax_sought {
	ax_u64 cgroup;
	ax_u32 filter;
	ax_u32 pad;
};

/* ax_ctl: what user space may change while traffic runs. One entry. */
struct ax_ctl {
	ax_u64 secret;		/* keys every hash; drawn once, kept with the pins */
	ax_u64 slow_ns;		/* requests at least this long are "slow"; 0: none */
	ax_u64 flow_interval;	/* ns between background flow records, a CPU; 0: none */
	ax_u64 error_interval;	/* the same for errors and slow requests */
	ax_u32 route_set;	/* which of ax_rt_set is in use */
	ax_u32 route_serial;	/* raised with every switch */
	ax_u32 filters;		/* bit i: filter i is active */
	ax_u32 wake;		/* 1: a reader waits on the ring, wake it for every record */
	ax_u32 audit;		/* 1: a policy audits: requests that it would deny are told of as errors are */
	ax_u32 pad;
};

/* Route patterns: which of up to 64 * AX_RT_WORDS patterns match is the intersection of the bitmaps
 * along the path; the lowest set bit names the route (user space sorts from specific to general). */
struct ax_rt_set {
	ax_u32 words;		/* in use; 0: no patterns */
	ax_u32 pad;
	ax_u64 wild[AX_RT_DEPTH][AX_RT_WORDS];		/* patterns with any segment at this depth */
	ax_u64 len[AX_RT_DEPTH + 1][AX_RT_WORDS];	/* patterns that a path of so many segments can match */
	ax_u64 route[64 * AX_RT_WORDS];			/* ax_routes' key of each pattern */
};

/* ax_rt_seg: a literal segment at a depth -> the patterns that have it there. */
struct ax_rt_key {
	ax_u64 hash;		/* FNV-1a of the segment's bytes, started from the secret; see ax_seg_hash */
	ax_u32 depth;
	ax_u32 set;
};

struct ax_rt_bits {
	ax_u64 word[AX_RT_WORDS];
};

/* Load-time knobs, in .rodata. */
struct ax_config {
	ax_u32 max_series;
	ax_u32 shard_mask;	/* number of copies of a cell, less one: a power of two */
	ax_u32 max_routes;	/* a workload */
	ax_u32 max_peers;	/* a workload */
	ax_u8 server;		/* observe the server's side */
	ax_u8 client;		/* observe the client's side */
	ax_u8 peers;		/* 0: peers are not told apart, 1: private addresses are, 2: all are */
	ax_u8 kernel_has;	/* features found by the loader: enum ax_feature */
	ax_u32 pad;
};

enum ax_feature {
	AX_HAS_RELEASE = 1,	/* bpf_sk_storage_get in cgroup/sock_release (5.12) */
	AX_HAS_TASK_COMM = 2,	/* task_struct can be read in cgroup hooks */
	AX_HAS_TYPES = 4,	/* the kernel describes its types */
};

#endif

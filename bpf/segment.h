/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * segment.h - what a packet's own headers say: link, IPv4 or IPv6, fragments, ports. What is no segment passes. So
 * does what has other headers in front of it (IPv6 extensions): to a selected workload the socket's own hook drops it. But a
 * segment that cannot be read may not pass, for it could lie within what has been judged.
 */
#ifndef AX_SEGMENT_H
#define AX_SEGMENT_H

#include "workload.h"

#define AX_IS_SEGMENT 0		/* beside AX_TC_PASS and AX_TC_SHOT: not decided, look on */

/* A TCP segment, by its packet's headers. */
struct ax_segment {
	const u8 *ip;		/* in the packet, */
	const u8 *end;		/* as much of it as is at hand */
	u32 l2;			/* length of the link's header: 14, or 0 */
	u32 iplen;
	u32 ip6;
	u32 total;		/* length from the IP header on; 0: the header does not say, for it is more than 64 KiB */
	u32 ports;		/* both, in network byte order: the client's first */
	u32 seq;
	u32 ack;
	u32 base;		/* where the payload begins in the packet */
	u32 len;		/* of the payload */
	u8 flags;
	u8 optioned;		/* it has TCP options other than timestamps */
};

static __always_inline u32 ax_server_port(const struct ax_segment *s)
{
	return bpf_ntohs(s->ports >> 16);
}

static __always_inline int ax_is_syn(u32 flags)
{
	return (flags & (AX_TCP_SYN | AX_TCP_ACK)) == AX_TCP_SYN;
}

/* The first fragment of a segment, whose ports are at `th`: to a selected workload it is dropped. Put together the segment
 * would look to the socket's hook like one that has been judged, in the place of one that TCP has discarded. */
static __always_inline int ax_first_fragment(const u8 *th, const u8 *end, const struct ax_pol_ctl *ctl)
{
	if (ctl->mode != AX_POL_MODE_ENFORCE)
		return AX_TC_PASS;
	/* nobody has to fragment a SYN, and one that starts to be looked at could not be changed: it is not asked for its port */
	if (th + 14 <= end && !ax_is_syn(th[13]) && !ax_port_marked(bpf_ntohs(*(u16 *)(th + 2))))
		return AX_TC_PASS;
	ax_deny_count(AX_DENY_FRAGMENT);
	return AX_TC_SHOT;
}

/* A packet that is too short for a segment: is it the first fragment of one (IPv4; a fragment's shortest payload is 8)? */
static __always_inline int ax_short_fragment(const u8 *ip, const u8 *end)
{
	return ip + 20 <= end && ip[0] >> 4 == 4 && ip[9] == AX_IPPROTO_TCP && *(u16 *)(ip + 6) & bpf_htons(0x2000) &&
	       !(*(u16 *)(ip + 6) & bpf_htons(0x1fff));
}

/* How long the link's, IP's and TCP's headers are, without TCP's options. */
static __always_inline u32 ax_headers(const u8 *ip, const u8 *end, u32 l2)
{
	if (ip + 1 > end)
		return l2 + 40;
	return ip[0] >> 4 == 6 ? l2 + 60 : l2 + (ip[0] & 15) * 4 + 20;
}

/* Has the packet's headers at hand, as much of them as there is, and finds where IP begins. */
static __always_inline int ax_link_header(struct __sk_buff *skb, const struct ax_pol_ctl *ctl, struct ax_segment *s)
{
	const u8 *data = AX_DATA(skb), *end = AX_DATA_END(skb);
	u32 l2 = skb->tc_classid & AX_CLASS_BARE ? 0 : 14;

	if (skb->protocol != bpf_htons(0x0800) && skb->protocol != bpf_htons(0x86dd))
		return AX_TC_PASS;
	AX_OPAQUE(l2);
	l2 &= 15;
	if ((u32)(end - data) < skb->len && (u32)(end - data) < ax_headers(data + l2, end, l2)) {
		/* virtio_net leaves a long packet in pieces, two bytes of TCP's header over IPv6 apart */
		if (bpf_skb_pull_data(skb, skb->len < 94 ? skb->len : 94)) {
			if (ctl->mode != AX_POL_MODE_ENFORCE)
				return AX_TC_PASS;
			ax_deny_count(AX_DENY_MEMORY);
			return AX_TC_SHOT;
		}
		data = AX_DATA(skb);
		end = AX_DATA_END(skb);
	}
	s->l2 = l2;
	s->ip = data + l2;
	s->end = end;
	if (s->ip + 40 > end) {
		if (ctl->mode != AX_POL_MODE_ENFORCE || !ax_short_fragment(s->ip, end))
			return AX_TC_PASS;
		ax_deny_count(AX_DENY_FRAGMENT);
		return AX_TC_SHOT;
	}
	return AX_IS_SEGMENT;
}

static __always_inline int ax_ipv4_header(const struct ax_pol_ctl *ctl, struct ax_segment *s)
{
	const u8 *ip = s->ip;

	if (ip[9] != AX_IPPROTO_TCP)
		return AX_TC_PASS;
	s->iplen = (ip[0] & 15) * 4;
	s->ip6 = 0;
	s->total = bpf_ntohs(*(u16 *)(ip + 2));
	if (*(u16 *)(ip + 6) & bpf_htons(0x3fff))
		return *(u16 *)(ip + 6) & bpf_htons(0x1fff) ? AX_TC_PASS : ax_first_fragment(ip + s->iplen, s->end, ctl);
	return AX_IS_SEGMENT;
}

static __always_inline int ax_ipv6_header(const struct ax_pol_ctl *ctl, struct ax_segment *s)
{
	const u8 *ip = s->ip;

	s->iplen = 40;
	s->ip6 = 1;
	s->total = bpf_ntohs(*(u16 *)(ip + 4));
	if (s->total)
		s->total += 40;
	/* behind other extension headers the socket's hook drops what has been put together */
	if (ip[6] == 44 && ip + 52 <= s->end && ip[40] == AX_IPPROTO_TCP)
		return *(u16 *)(ip + 42) & bpf_htons(0xfff8) ? AX_TC_PASS : ax_first_fragment(ip + 48, s->end, ctl);
	if (ip[6] != AX_IPPROTO_TCP) {
		/* hop-by-hop options of nothing but a jumbo payload's length (RFC 2675) */
		if (ip[6] || ip + 48 > s->end || ip[40] != AX_IPPROTO_TCP || ip[41] || ip[42] != 0xc2)
			return AX_TC_PASS;
		s->iplen = 48;
		s->total = 0;
	}
	return AX_IS_SEGMENT;
}

/* The TCP header of a packet that may be for a selected workload, by the port that it goes to. */
static __always_inline int ax_tcp_segment(struct __sk_buff *skb, const struct ax_pol_ctl *ctl, struct ax_segment *s)
{
	const u8 *th = s->ip + s->iplen;
	u32 off;

	/* TCP would discard it, or we would have to let it by unread */
	if (s->iplen < 20 || th + 20 > s->end) {
		if (ctl->mode != AX_POL_MODE_ENFORCE ||
		    (th + 14 <= s->end && !ax_is_syn(th[13]) && !ax_port_marked(bpf_ntohs(*(u16 *)(th + 2)))))
			return AX_TC_PASS;
		ax_deny_count(AX_DENY_STRAY);
		return AX_TC_SHOT;
	}
	s->ports = *(u32 *)th;
	s->flags = th[13];
	/* a listener's first SYN comes before anybody has asked whose it is */
	if (!ax_is_syn(s->flags) && !ax_port_marked(ax_server_port(s)))
		return AX_TC_PASS;
	s->seq = bpf_ntohl(*(u32 *)(th + 4));
	s->ack = bpf_ntohl(*(u32 *)(th + 8));
	off = s->iplen + (th[12] >> 4) * 4;
	if (!s->total)
		s->total = skb->len - s->l2;
	if (s->total < off || s->l2 + s->total > skb->len)
		return AX_TC_PASS;
	s->base = s->l2 + off;
	s->len = s->total - off;
	off -= s->iplen;
	/* as nearly every segment has them: NOP, NOP, timestamps of 10 bytes */
	s->optioned = off != 20 && !(off == 32 && th + 24 <= s->end && *(u32 *)(th + 20) == bpf_htonl(0x0101080a));
	return AX_IS_SEGMENT;
}

/* AX_IS_SEGMENT: the packet is a segment that may be for a selected workload; or what becomes of it. */
static __always_inline int ax_segment_of(struct __sk_buff *skb, const struct ax_pol_ctl *ctl, struct ax_segment *s)
{
	int r = ax_link_header(skb, ctl, s);

	if (r != AX_IS_SEGMENT)
		return r;
	r = s->ip[0] >> 4 == 4 ? ax_ipv4_header(ctl, s) : ax_ipv6_header(ctl, s);
	if (r != AX_IS_SEGMENT)
		return r;
	return ax_tcp_segment(skb, ctl, s);
}

#endif

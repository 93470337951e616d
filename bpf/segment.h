/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* segment.h - what a packet's own headers say: link, IPv4 or IPv6, fragments, ports. */
#ifndef AX_SEGMENT_H
#define AX_SEGMENT_H

#include "workload.h"

/* The first fragment of a segment, whose ports are at `th`: to a selected workload it is dropped. Put together the segment
 * would look to the socket's hook like one that has been judged, in the place of one that TCP has discarded. */
static __always_inline int ax_first_fragment(const u8 *th, const u8 *end, const struct ax_pol_ctl *ctl)
{
	u64 *port;

	if (ctl->mode != AX_POL_MODE_ENFORCE)
		return AX_TC_PASS;
	if (th + 4 > end)
		return AX_TC_SHOT;
	port = ax_port_word(bpf_ntohs(*(u16 *)(th + 2)));
	if (!port || !(*port >> (bpf_ntohs(*(u16 *)(th + 2)) & 63) & 1))
		return AX_TC_PASS;
	ax_deny_count(AX_DENY_FRAGMENT);
	return AX_TC_SHOT;
}

/* A packet that is too short for a segment: is it the first fragment of one (IPv4; a fragment's shortest payload is 8)? */
static __always_inline int ax_short_fragment(const u8 *data, const u8 *end)
{
	const u8 *ip = data;

	if (data + 34 <= end && *(u16 *)(data + 12) == bpf_htons(0x0800))
		ip = data + 14;
	return ip + 20 <= end && ip[0] >> 4 == 4 && ip[9] == AX_IPPROTO_TCP && *(u16 *)(ip + 6) & bpf_htons(0x2000) &&
	       !(*(u16 *)(ip + 6) & bpf_htons(0x1fff));
}

#endif

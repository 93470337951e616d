/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * platform.h - what the machine stands on: the kernel's helpers, or, with AX_NATIVE, their stand-ins
 * of tests/native, so that every line below the hooks can be run, fuzzed and measured without a kernel.
 */
#ifndef AX_PLATFORM_H
#define AX_PLATFORM_H

#include <linux/bpf.h>
#ifdef AX_NATIVE
#include "native.h"
#else
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#define AX_DATA(skb) ((void *)(long)(skb)->data)
#define AX_DATA_END(skb) ((void *)(long)(skb)->data_end)
#endif
#include "axon.h"
#include "axon_policy.h"

typedef ax_u8 u8;
typedef ax_u16 u16;
typedef ax_u32 u32;
typedef ax_u64 u64;
typedef int s32;
typedef long long s64;

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* A function that the verifier checks once, by itself: its arguments are the context and scalars,
 * everything else is found again in the work area. Verification is then linear in the functions
 * instead of exponential in the paths, on 5.10 as well. */
#define AX_GLOBAL __attribute__((noinline))

/* Keeps the compiler from proving a bound that the verifier cannot see (and then dropping it). */
#define AX_OPAQUE(x) asm volatile("" : "+r"(x))

/* Size in 1..limit, limit a power of two: the only form that the verifier of 5.10 takes as "at least 1". */
#define AX_SIZE(n, limit) (((n) - 1 & ((limit) - 1)) + 1)

/* An index that has been checked to be below `limit`, a power of two, said so that the verifier sees it at the
 * place of use: the compiler may have checked another copy of it. */
#define AX_INDEX(x, limit) ({ u32 _i = (x); AX_OPAQUE(_i); _i & ((limit) - 1); })

/* A field of a socket, read where it is written: the compiler would otherwise merge the reads of two fields into one
 * at a computed address, which the verifier refuses. */
#define AX_READ(x) ({ typeof(x) _v = (x); AX_OPAQUE(_v); _v; })

/* What is written before it is written before what is written behind it, and so for reads: the compiler's part of that.
 * The processor's is x86's own order; where it has none, a run that goes on from half-written state is as rare as it is
 * brief. */
#define ax_barrier() asm volatile("" ::: "memory")

#define AX_LIKELY(x) __builtin_expect(!!(x), 1)
#define AX_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define AX_TC_PASS (-1)	/* TC_ACT_UNSPEC: the next filter's turn, whoever else is attached */
#define AX_TC_SHOT 2
#define AX_TC_STOLEN 4	/* dropped, but to a sender on this host it was sent */

#define AX_TCP_SYN_SENT 2
#define AX_TCP_SYN_RECV 3
#define AX_TCP_TIME_WAIT 6
#define AX_TCP_CLOSE 7
#define AX_TCP_LISTEN 10
#define AX_TCP_NEW_SYN_RECV 12
#define AX_TCP_FIN 0x01
#define AX_TCP_SYN 0x02
#define AX_TCP_RST 0x04
#define AX_TCP_PSH 0x08
#define AX_TCP_ACK 0x10
#define AX_TCP_URG 0x20
#define AX_IPPROTO_TCP 6
#define AX_AF_INET 2
#define AX_AF_INET6 10

#endif

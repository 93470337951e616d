"""Requests that are written by the RFCs' letter, of every framing: what strict readers have to take."""

from __future__ import annotations

from hypothesis import strategies as st

_TOKENS = st.sampled_from(
    [b"Accept", b"X-Y_z", b"Cookie", b"content-lengths", b"host2", b"!#$%&'*+.^`|~9"]
)
_VALUES = st.binary(max_size=60).map(lambda raw: bytes(33 + c % 94 for c in raw)) | st.just(
    b"\ta \xff"
)


@st.composite
def polite(draw: st.DrawFn) -> bytes:
    """Return a request that is written as strictly as it can be, of any framing."""
    path = b"/".join(draw(st.lists(st.sampled_from([b"a", b"~b%20", b"c" * 90]), min_size=1)))
    method = draw(st.sampled_from([b"GET", b"POST", b"DELETE", b"REPORT", b"M-SEARCH"]))
    query = draw(st.sampled_from([b"", b"", b"?", b"?a=//../%2e&b"]))
    minor = draw(st.sampled_from([b"1", b"1", b"1", b"0"]))
    fields = [b"Host: " + draw(st.sampled_from([b"h", b"h.example:80", b"[::1]:8"]))]
    fields += [b": ".join(f) for f in draw(st.lists(st.tuples(_TOKENS, _VALUES), max_size=3))]
    body = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["none", "length", "length", "chunked"]))
    if framing == "chunked" and minor == b"1":
        fields.append(
            draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:\tCHUNKED "]))
        )
        chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(body), e, body) for e in (b"", b";a=b") if body)
        body = chunks + b"000\r\n" + draw(st.sampled_from([b"", b"Trailer: x\r\n"])) + b"\r\n"
    elif framing == "none":
        body = b""
    else:
        fields.append(b"Content-Length: %d" % len(body))
    fields = draw(st.permutations(fields))
    line = b"%s /%s%s HTTP/1.%s" % (method, path, query, minor)
    return b"".join(
        [
            draw(st.sampled_from([b"", b"", b"\r\n"])),
            line,
            b"\r\n",
            b"\r\n".join(fields),
            b"\r\n\r\n",
            body,
        ]
    )

"""What happens to packets on their way: sent again, overlapping, out of order, waiting, damaged."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.native.talk import CLIENT, Side, Talk

HARMLESS = ("again", "overlap", "reorder", "wait", "resend", "beside", "copy", "copies")
DAMAGED = ("decoy", "decoys", "decoy-cut", "decoy-short", "decoy-twin")
HARMFUL = ("decoy-long", "decoy-hole", "unseen", "decoy-early", "wait-resend")

_FRAME = 9000  # no checksum of a longer packet is looked at: it has been merged, and checked


class RoughTalk(Talk):
    """A conversation whose packets meet with accidents; every byte arrives in the end.

    `accidents` are drawn from, a packet; what is damaged TCP discards.
    """

    def __init__(self, *arguments: Any, accidents: tuple[str, ...], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.accidents = accidents

    def _deliver(self, side: Side, start: int, end: int, *, fin: bool = False) -> None:
        if fin or self.rnd.random() < 0.4:
            super()._deliver(side, start, end, fin=fin)
        elif (side is self.responses) == (self.role == CLIENT):
            self._rough(side.stream, start, end, self.rnd.choice(self.accidents))
        else:
            self._sent_again(side.stream, start, end)

    def _sent_again(self, stream: bytes, start: int, end: int) -> None:
        """Our own side sends, and sends again: any part of what was sent."""
        if start and self.rnd.random() < 0.5:
            self._resend(stream, start)
        self.tcp.leave(start, stream[start:end])
        if self.rnd.random() < 0.5:
            self._resend(stream, end)

    def _resend(self, stream: bytes, sent: int) -> None:
        at = max(sent - self.rnd.randint(1, 3000), 0)
        until = self.rnd.randint(at + 1, sent)
        self.tcp.leave(at, stream[at:until])

    def _rough(self, stream: bytes, start: int, end: int, what: str) -> None:
        tcp, rnd = self.tcp, self.rnd
        if what == "again":
            tcp.arrive(start, stream[start:end])
            tcp.arrive(start, stream[start:end])
        elif what == "overlap":
            at = max(start - rnd.randint(1, 2000), 0)
            tcp.arrive(at, stream[at:end])
        elif what == "reorder":
            self._reordered(stream, start, end)
        elif what == "wait":
            for a, b in self._pieces(start, end, 5):
                tcp.arrive(a, stream[a:b], fate="waits")
            tcp.settle()
        elif what == "beside":
            pieces = self._pieces(start, end, 4)
            rnd.shuffle(pieces)
            self._beside(stream, pieces)
            tcp.settle()
        elif what == "resend":
            # a timeout sends again what waits for the process to let go of the socket
            for a, b in self._pieces(start, end, 3):
                tcp.arrive(a, stream[a:b], fate="waits")
                tcp.arrive(a, stream[a:b], fate="waits")
                tcp.settle()
        elif what in HARMFUL:
            self._harmed(stream, start, end, what)
        else:
            self._damaged(stream, start, end, what)

    def _copied(self, stream: bytes, pieces: list[tuple[int, int]], *, late: bool) -> None:
        """Damaged copies come behind packets that TCP has not taken: they wait, or are early."""
        if late:
            self.rnd.shuffle(pieces)
        for a, b in pieces:
            self.tcp.arrive(a, stream[a:b], fate="taken" if late else "waits")
            if b - a <= _FRAME:
                data = self._damage(stream[a:b])
                self.tcp.arrive(a, data, fate="dropped", damaged=True)
            self.tcp.settle()

    def _beside(self, stream: bytes, pieces: list[tuple[int, int]]) -> None:
        """Packets arrive on several cores: one meets its hook while another is in it.

        By then TCP may have taken what had met its hook.
        """
        (a, b), *later = pieces
        fate = self.rnd.choice(("waits", "taken"))
        if not later:
            self.tcp.arrive(a, stream[a:b], fate=fate)
            return
        with self.tcp.sock.machine.beside(
            self.rnd.randint(1, 60), lambda: self._beside(stream, later)
        ):
            self.tcp.arrive(a, stream[a:b], fate=fate)

    def _harmed(self, stream: bytes, start: int, end: int, what: str) -> None:
        """What cannot always be undone: then it is counted as lost."""
        tcp, rnd = self.tcp, self.rnd
        pieces = self._pieces(start, end, 4)
        if what == "decoy-long":
            far = end + rnd.randint(1, 600)
            tcp.arrive(start, self._damage((stream + b"x" * 600)[start:far]), fate="dropped")
            tcp.arrive(start, stream[start:end])
        elif what == "decoy-hole":
            # more packets were on their way behind the damaged one
            for i, (a, b) in enumerate(pieces):
                data = stream[a:b] if i else self._damage(stream[a:b])
                tcp.arrive(a, data, fate="taken" if i else "dropped")
            tcp.arrive(*self._piece(stream, pieces[0]))
        elif what == "unseen":
            # taken before the hooks were there, or by a way around them
            hidden = rnd.randrange(len(pieces))
            for i, piece in enumerate(pieces):
                # what nothing ever comes behind cannot be missed
                tcp.arrive(*self._piece(stream, piece), seen=i != hidden or piece[1] == len(stream))
        elif what == "decoy-early":
            for i, (a, b) in reversed(list(enumerate(pieces))):
                tcp.arrive(a, self._damage(stream[a:b]), fate="dropped")
                if i:
                    tcp.arrive(a, stream[a:b])
            tcp.arrive(*self._piece(stream, pieces[0]))
        else:
            for piece in pieces:
                tcp.arrive(*self._piece(stream, piece), fate="waits")
            tcp.arrive(*self._piece(stream, rnd.choice(pieces)), fate="waits")
            tcp.settle()

    @staticmethod
    def _piece(stream: bytes, piece: tuple[int, int]) -> tuple[int, bytes]:
        return piece[0], stream[piece[0] : piece[1]]

    def _reordered(self, stream: bytes, start: int, end: int) -> None:
        pieces = self._pieces(start, end, 6)
        self.rnd.shuffle(pieces)
        for a, b in pieces:
            self.tcp.arrive(a, stream[a:b])
            if self.rnd.random() < 0.3:
                self.tcp.arrive(a, stream[a:b])

    def _damaged(self, stream: bytes, start: int, end: int, what: str) -> None:
        tcp, rnd = self.tcp, self.rnd
        if what in ("copy", "copies"):
            self._copied(stream, self._pieces(start, end, 4), late=what == "copies")
            return
        middle = rnd.randint(start + 1, end)
        short = middle if what == "decoy-short" else end
        tcp.arrive(start, self._damage(stream[start:short]), fate="dropped")
        if what == "decoys":
            tcp.arrive(start, self._damage(stream[start:end]), fate="dropped")
        if what == "decoy-cut" and middle < end:
            tcp.arrive(start, stream[start:middle])
            start = middle
        if what == "decoy-twin":
            tcp.arrive(start, stream[start:end], fate="dropped")
        tcp.arrive(start, stream[start:end])

    def _damage(self, data: bytes) -> bytes:
        """Other bytes: a few of them, all of them, or a message of an attacker's."""
        rnd = self.rnd
        kind = rnd.choice(["bits", "noise", "message", "head"])
        if kind == "bits":
            out = bytearray(data)
            for _ in range(rnd.randint(1, 3)):
                out[rnd.randrange(len(out))] ^= 1 << rnd.randrange(8)
            return bytes(out)
        if kind == "noise":
            return rnd.randbytes(len(data))
        lines = b"POST /decoy HTTP/1.1\r\nContent-Length: 999\r\n"
        if kind == "message":
            lines = (
                b"\r\n\r\nGET /decoy HTTP/1.1\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
            )
        return (lines * (len(data) // len(lines) + 1))[: len(data)]

    def _pieces(self, start: int, end: int, most: int) -> list[tuple[int, int]]:
        cuts = sorted(
            {
                *range(start, end, 65_000),  # no more fits a packet
                end,
                *(self.rnd.randint(start, end) for _ in range(self.rnd.randint(0, most - 1))),
            }
        )
        return list(pairwise(cuts))

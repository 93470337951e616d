"""Names of any bytes, as they are shown."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.identity.place import place
from axon.identity.printable import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"nginx.service", "nginx.service"),
        ("caf\u00e9.service".encode(), "caf\u00e9.service"),
        (rb"a\x2db.service", r"a\x2db.service"),
        (b"a\xff\n\x1b[31m", "a%FF%0A%1B[31m"),
        ("\u2028".encode(), "%E2%80%A8"),
        (b"100%", "100%25"),
    ],
)
def test_what_is_shown(name: bytes, shown: str) -> None:
    """What can be shown is, and of anything else the bytes."""
    assert printable(os.fsdecode(name)) == shown


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_no_name_is_shown_as_another(one: bytes, other: bytes) -> None:
    """Whatever the bytes of a name are, it can be shown and encoded, and by no other's text."""
    first, second = (printable(os.fsdecode(name)) for name in (one, other))
    assert first.isprintable()
    assert msgspec.json.decode(msgspec.json.encode(first)) == first
    assert (first == second) == (one == other)


@given(st.text(st.characters(), max_size=4))
def test_any_text_can_be_encoded(text: str) -> None:
    """Lone surrogates too, which no file's name has."""
    printable(text).encode()


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        (rb"a\x2db\x7e@.service", "a-b~@.service"),
        (b"nginx\xff.service", "nginx%FF.service"),
        (rb"nginx\xff.service", r"nginx\xff.service"),
        (b"a~.service", "a%7E.service"),
        (rb"a\x25FF.service", r"a\x25FF.service"),
        (rb"a\x5cxff.service", r"a\x5cxff.service"),
        (rb"\x6eginx.service", r"\x6eginx.service"),
        ("caf\u00e9.service".encode(), "caf%C3%A9.service"),
        (rb"a\x0a\x7f.service", r"a\x0a\x7f.service"),
    ],
)
def test_units_that_look_like_another(name: bytes, unit: str) -> None:
    """A unit is shown as systemd's escapes mean it, and no odd name as that of another unit."""
    assert place(f"/system.slice/{os.fsdecode(name)}").unit == unit
    assert place(f"/machine.slice/machine-{os.fsdecode(name)}.scope").container == unit


def test_containers_with_odd_names() -> None:
    """They can be shown, and are no others'."""
    name = os.fsdecode(b"b\xffc.scope")
    shown = "b%FFc.scope"
    assert place(f"/lxc.payload.{name}").container == shown
    assert place(f"/lxc/{name}").container == shown

"""What crosses the kernel's boundary: layouts, tables, numbers, places."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.errors import PolicyError
from axon.policy import Arena, Compiler, Host, Party, for_half, name_of, parse_policies
from axon.policy.compiler import layout
from axon.policy.compiler.arena import FIRST, taken
from axon.policy.compiler.bitmaps import Cells
from axon.policy.compiler.hashing import Hashes, mixed
from axon.policy.compiler.image import Image, entries_at
from axon.policy.compiler.tables import arrange
from axon.policy.language.model import ENTRIES
from axon.policy.language.paths import DEPTH, LONGEST, TEXT
from axon.policy.parties.registry import Registry

HEADER = (Path(__file__).resolve().parents[4] / "bpf" / "axon_policy.h").read_text(encoding="utf-8")
STRUCTS = {
    "target": layout.TARGET,
    "caller": layout.CALLER,
    "addr": layout.ADDR,
    "peer": layout.PEER,
    "set": layout.SET,
    "record": layout.RECORD,
    "rule": layout.RULE,
    "glob": layout.GLOB,
    "name": layout.TEXT,
}
_SIZES = {"ax_u8": 1, "ax_u16": 2, "ax_u32": 4, "ax_u64": 8}


@pytest.mark.parametrize("name", STRUCTS)
def test_types_are_those_of_the_contract(name: str) -> None:
    """Each dtype has the fields of its struct in bpf/axon_policy.h, in order and without holes."""
    body = HEADER.split(f"struct ax_pol_{name} {{", 1)[1].split("};", 1)[0]
    fields = re.findall(r"^\t(ax_u\d+) (\w+)(?:\[(\w+)\])?;", body, re.MULTILINE)
    counts = {"AX_COMM": 16, "AX_POL_NAME": layout.NAME, "16": 16, "": 1}
    dtype = STRUCTS[name]
    assert [field for _, field, _ in fields] == list(dtype.names or ())
    at = 0
    for kind, field, count in fields:
        assert dtype.fields is not None
        base, offset = dtype.fields[field][:2]
        assert (base.itemsize, offset) == (_SIZES[kind] * counts[count], at)
        at += base.itemsize
    assert at == dtype.itemsize


def test_bounds_are_those_of_the_contract() -> None:
    """Bounds and enumerations have the values that the header gives them."""
    defines = dict(re.findall(r"^#define AX_POL_(\w+) (\d+)", HEADER, re.MULTILINE))
    ours = {
        "PATH": LONGEST, "DEPTH": DEPTH, "TEXT": TEXT, "SETS": layout.SETS, "GROUPS": layout.GROUPS,
        "POLICIES": layout.POLICIES, "GLOBS": layout.GLOBS, "PROBES": layout.PROBES,
        "NAME": layout.NAME,
    }  # fmt: skip
    assert {name: int(value) for name, value in defines.items()} == ours
    assert layout.RULES == layout.GROUPS * 64 * 64
    assert layout.DEPTH == DEPTH
    kinds = re.findall(r"AX_POL_KIND_(\w+)", _enum("ax_pol_kind"))
    assert kinds == [kind.name for kind in layout.Kind]
    modes = re.findall(r"AX_POL_MODE_(\w+)", _enum("ax_pol_mode"))
    assert dict(enumerate(modes)) == {mode.value: mode.name for mode in layout.HostMode}
    flags = re.findall(r"AX_POL_(\w+) = (\d)", _enum("ax_pol_set_flag"))
    assert dict(flags) == {flag.name: str(flag.value) for flag in layout.SetFlag}
    assert f"AX_IDENT_FIRST = {layout.IDENT_FIRST}," in HEADER
    assert ENTRIES - 1 == 255


def _enum(name: str) -> str:
    """Return what stands in an enumeration of the header."""
    return HEADER.split(f"enum {name} {{", 1)[1].split("}", 1)[0]


@given(st.sets(st.integers(0, layout.RULES - 1), max_size=40))
def test_bitmaps(rules: set[int]) -> None:
    """A bitmap's words that are not 0 follow a summary of them, and equal bitmaps are one."""
    cells = Cells()
    bits = sum(1 << rule for rule in rules)
    at = cells.bitmap(bits)
    assert cells.bitmap(bits) == at
    found = set()
    word = at + layout.GROUPS
    for i in range(layout.GROUPS * 64):
        if rules and cells.cells[at + i // 64] >> i % 64 & 1:
            found |= {i * 64 + b for b in range(64) if cells.cells[word] >> b & 1}
            word += 1
    assert found == rules
    assert word == len(cells) or not rules


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 70), max_size=200))
def test_tables(keys: list[int]) -> None:
    """Each key has a bucket of its own, near its first, with no free one before it."""
    hashes = np.array(sorted(set(keys)), np.uint64)
    # Of keys with the same bucket there can only be as many as there are probes.
    own: dict[int, list[np.uint64]] = {}
    for h in hashes:
        own.setdefault(int(h) % 64, []).append(h)
    hashes = np.array([h for found in own.values() for h in found[:2]], np.uint64)
    table = arrange(hashes)
    assert table.size >= 2 * len(hashes)
    taken = set(table.bucket.tolist())
    assert len(taken) == len(hashes)
    for h, bucket in zip(hashes.tolist(), table.bucket.tolist(), strict=True):
        way = (bucket - h) % table.size
        assert way < layout.PROBES
        assert all((h + step) % table.size in taken for step in range(way))


def test_hashes() -> None:
    """Texts are hashed by FNV-1a from the secret on, keys with kind and depth mixed in."""
    basis = 0xCBF29CE484222325
    hashes = Hashes(basis)
    known = 0x85944171F73967E8  # of "foobar", from the reference implementation
    assert hashes.texts([b"foobar", b"", b"foobar"]) == [known, basis, known]
    want = (known ^ 0x0103 * 0x9FB21C651E98DF25) & (2**64 - 1)
    assert mixed([known], [0x0103]).tolist() == [want ^ want >> 32]


def test_numbers_are_stable_and_come_back_last() -> None:
    """A thing keeps its number while it lives; freed ones are given away when all others are."""
    registry = Registry[str](1, 4, "things")
    assert [registry[t] for t in ("a", "b", "a")] == [1, 2, 1]
    registry.keep({"b"})
    assert (registry["c"], registry["d"], registry["b"]) == (3, 1, 2)
    with pytest.raises(PolicyError, match="more than 3 things"):
        registry["e"]


def test_numbers_of_before_are_kept() -> None:
    """What is known keeps its number; those between and of things that are gone are given as well."""
    registry = Registry[str](1, 7, "things")
    registry.take({5: "e", 2: "b", 4: "gone", 3: "b"})
    registry.keep({"b", "e"})
    assert (registry["e"], registry["b"], registry["x"]) == (5, 3, 6)
    assert sorted(registry[t] for t in ("p", "q", "r")) == [1, 2, 4]
    with pytest.raises(PolicyError):
        registry["s"]


POLICY = """\
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: p{0}}}
spec:
  podSelector: {{matchLabels: {{app: s{0}}}}}
  ingress: {1}
"""


def images(numbers: Iterable[int], rules: str = "{path: /a*b/c}", secret: int = 1) -> list[Image]:
    """Return the image of a workload for each number."""
    ingress = f"[{{httpRules: [{rules}]}}]" if rules else "[]"
    policies = [parse_policies(POLICY.format(n, ingress), "f")[0] for n in numbers]
    host = Host({n + 100: Party.of({"app": f"s{n}"}) for n in numbers}, unknown=None)
    return list(Compiler(secret).compile(policies, host).images)


def test_an_image_is_moved_as_a_whole() -> None:
    """At another place only what points to cells is different, and by the distance."""
    (image,) = images([1])
    one, two = image.placed(1000), image.placed(3000)
    moved = one != two
    assert 0 < np.count_nonzero(moved) == len(image.low) + len(image.high)
    assert set((two - one)[moved].tolist()) == {2000, 2000 << 32}
    entries = entries_at([image, image], [1000, 3000], [7, 8])
    for field in layout.SET.names or ():
        if field in layout.POINTERS:
            first, second = int(entries[0][field]), int(entries[1][field])
            assert second - first == 2000 or (first, second) == (0, 0)
    assert image.cells[0] == len(image.cells) == one[0]


def test_places_in_the_arena() -> None:
    """What has not changed stays where it is; what is in use is not written over."""
    arena = Arena(1 << 14)
    first = images([1, 2, 3])
    one = arena.place(first)
    assert len(one.writes) == 3
    assert not any(one.entries[0][field] for field in layout.SET.names or () if field != "serial")
    assert min(base for base, _ in one.writes) == FIRST
    arena.switched(one)
    second = [first[0], *images([2], "{path: /other}"), first[2]]
    two = arena.place(second)
    assert [len(cells) for _, cells in two.writes] == [len(second[1].cells)]
    assert two.entries[1] == one.entries[1]
    assert two.entries[3] == one.entries[3]
    used = sorted((p.base, p.base + p.size) for p in {*one.places.values(), *two.places.values()})
    assert all(end <= base for (_, end), (base, _) in pairwise(used))
    arena.switched(two)
    three = arena.place([*second, *images([9], "{path: /new}")])
    assert three.writes[0][0] == one.places[first[1].digest].base
    serials = [int(s) for p in (one, two, three) for s in p.entries["serial"][1:]]
    assert len(set(serials)) == 5
    assert 0 not in serials


def test_an_arena_that_is_full() -> None:
    """Without room nothing is placed, and what was placed before stays good."""
    arena = Arena(1 << 10, taken=[(FIRST, 500)], serial=40)
    some = images([1])
    placement = arena.place(some)
    assert placement.writes[0][0] == FIRST + 500
    assert placement.entries[1]["serial"] == 40
    arena.switched(placement)
    with pytest.raises(PolicyError, match="no room for them"):
        arena.place([*some, *images(range(2, 40))])
    assert arena.place(some).writes == ()


def test_half_of_the_arena() -> None:
    """What takes more could never be replaced, and is refused; of what takes less another one fits."""
    some = images(range(8))
    needed = sum(len(image.cells) for image in some)
    with pytest.raises(PolicyError, match="may take half of policy_memory"):
        Arena(2 * needed).check(some)
    arena = Arena(2 * needed + FIRST)
    arena.check(some)
    arena.switched(arena.place(some))
    others = images(range(8), "{path: /c*d/e}")
    arena.check(others)
    assert len(arena.place(others).writes) == len(others)


def test_another_agent_finds_what_is_in_use() -> None:
    """From the directory and the arena alone the places of the sets in use are known, and kept."""
    some = [*images([1, 2]), *images([1], "")]
    placement = Arena(1 << 12, serial=7).place(some)
    cells = np.zeros(1 << 12, np.uint64)
    for base, written in placement.writes:
        cells[base : base + len(written)] = written
    places, serial = taken(placement.entries, cells)
    assert places == sorted((place.base, place.size) for place in placement.places.values())
    assert serial == 10
    again = Arena(1 << 12, places, serial).place(some)
    assert min(base for base, _ in again.writes) == placement.end
    assert taken(Arena(1 << 12, serial=7).place([]).entries, cells) == ([], 7)
    assert taken(np.zeros(3, layout.SET), cells) == ([], 1)


def test_halves_and_names() -> None:
    """Keys are for either half, and a name is cut off where its room ends."""
    keys = np.zeros(2, layout.TARGET)
    assert for_half(keys, 1)["half"].tolist() == [1, 1]
    assert keys["half"].tolist() == [0, 0]
    row = name_of("default/" + "n" * 200)
    assert (int(row["len"]), row["text"].tobytes()[:9]) == (128, b"default/n")

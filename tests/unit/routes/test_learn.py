"""Learned templates: what is taken for variable, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axon.routes.learn import Learner
from axon.routes.pattern import parse

PEOPLE = """
alice bob carol dave erin frank grace heidi ivan judy mallory niaj olivia peggy quentin rupert sybil
trent ursula victor walter xavier yvonne zoe adam beth carl dora emil fred gina hugo iris jack kate
liam mona nora oscar pablo quinn rosa saul tina umar vera wade xena yara zack abel bella cyrus daisy
""".split()  # noqa: SIM905 - words read best as words


def taught(*texts: str, max_routes: int = 1000) -> Learner:
    """Return a learner that one workload has shown some routes."""
    learner = Learner(max_routes=max_routes)
    for text in texts:
        learner.see("shop", text)
    return learner


def templates(learner: Learner) -> set[str]:
    """Return the texts of what was learned."""
    return {p.text for p in learner.patterns()}


def shields(learner: Learner) -> set[str]:
    """Return the texts of what is shielded."""
    return {p.text for p in learner.shields()}


def test_names_with_the_same_below_are_variable() -> None:
    """More than 25 names with the same thing below them become one template each."""
    learner = taught(*(f"/users/{name}/profile" for name in PEOPLE[:25]))
    assert templates(learner) == set()
    learner.see("shop", f"/users/{PEOPLE[25]}/profile")
    assert templates(learner) == {"/users/{*}/profile"}


def test_what_comes_later_is_known_at_once() -> None:
    """Once a position is variable, a new path through it is a template at its first sighting."""
    learner = taught(*(f"/users/{name}/profile" for name in PEOPLE[:30]))
    version = learner.version
    learner.see("shop", "/users/zarathustra/orders")
    learner.see("shop", "/users/zarathustra/orders/{id}")
    assert templates(learner) == {
        "/users/{*}/profile", "/users/{*}/orders", "/users/{*}/orders/{id}",
    }  # fmt: skip
    assert learner.version > version
    assert [p.segments for p in learner.patterns()][-1] == ("users", None, "orders", None)


def test_positions_below_each_other_are_both_learned() -> None:
    """Names below names: each position is found out for itself."""
    texts = [f"/repos/{a}/{b}/issues" for a in PEOPLE[:30] for b in PEOPLE[30:32]]
    texts += [f"/repos/{PEOPLE[0]}/{b}/issues" for b in PEOPLE]
    assert "/repos/{*}/{*}/issues" in templates(taught(*texts))


def test_identifiers_alone_are_variable() -> None:
    """Identifiers that the kernel leaves literal count in full without anything below them."""
    texts = [f"/orders/{1000 + i}-{i % 7}x{i}" for i in range(26)]
    assert templates(taught(*texts)) == {"/orders/{*}"}


def test_plain_words_need_twice_as_many() -> None:
    """Words with nothing below them may be an API's: 51 are needed."""
    assert templates(taught(*(f"/users/{name}" for name in PEOPLE[:50]))) == set()
    assert templates(taught(*(f"/users/{name}" for name in PEOPLE[:51]))) == {"/users/{*}"}


@pytest.mark.parametrize("parent", ["", "/api", "/v2", "/rpc"])
def test_words_of_an_api_need_four_times_as_many(parent: str) -> None:
    """Below the root, `/api` and the like, words are most likely the API's own."""
    words = [a + b.title() for a in PEOPLE[:2] for b in PEOPLE]
    assert templates(taught(*(f"{parent}/{word}" for word in words[:100]))) == set()
    assert templates(taught(*(f"{parent}/{word}" for word in words[:101]))) == {parent + "/{*}"}


def test_resources_with_identifiers_below_are_not_shared_words() -> None:
    """`/api/<resource>/{id}` is an API's own shape, however many resources have it."""
    texts = [text for name in PEOPLE[:50] for text in (f"/api/{name}", f"/api/{name}/{{id}}")]
    assert templates(taught(*texts)) == set()


def test_files_need_four_times_as_many() -> None:
    """A folder of static files stays apart up to a hundred."""
    files = [f"/static/{name}.{ending}" for name in PEOPLE for ending in ("js", "css")]
    assert templates(taught(*files[:100])) == set()
    assert templates(taught(*files[:101])) == {"/static/{*}"}


def test_well_known_names_stay_apart() -> None:
    """`me`, `search` and an empty segment are no identifiers: they are shielded where seen."""
    texts = ["/users/", "/users/me", "/users/me/profile"]
    texts += [f"/users/{name}{end}" for name in PEOPLE[:30] for end in ("", "/profile")]
    learner = taught(*texts)
    assert templates(learner) == {"/users/{*}", "/users/{*}/profile"}
    assert shields(learner) == {"/users/", "/users/me", "/users/me/**"}
    learner.see("shop", "/users/search/recent")
    assert "/users/search" in shields(learner)
    assert "/users/{*}/recent" not in templates(learner)


def test_well_known_names_are_never_counted() -> None:
    """An API of well-known verbs is none of identifiers."""
    verbs = ["list", "create", "update", "delete", "search", "count", "export", "import", "login"]
    texts = [f"/x/{verb}/{other}" for verb in verbs for other in verbs]
    assert templates(taught(*texts)) == set()


def test_another_workload_keeps_its_own_names() -> None:
    """A workload that has other names at the same place is shielded from the template."""
    learner = Learner(max_routes=1000)
    for name in ("report", "billing"):
        learner.see("office", f"/users/{name}/profile")
    for name in PEOPLE[:26]:
        learner.see("shop", f"/users/{name}/profile")
    assert templates(learner) == {"/users/{*}/profile"}
    assert shields(learner) == {"/users/billing/**", "/users/report/**"}


def test_another_instance_has_the_same_names() -> None:
    """The other end of the same requests, or another instance, is not shielded but merged."""
    learner = Learner(max_routes=1000)
    for name in PEOPLE[:26]:
        learner.see("proxy", f"/users/{name}/profile")
        learner.see("shop", f"/users/{name}/profile")
    assert templates(learner) == {"/users/{*}/profile"}
    assert shields(learner) == set()


def test_a_crowded_workload_is_not_spared() -> None:
    """Close to the bound on routes a template says more than `other`, even of words or files."""
    files = [f"/static/{name}.js" for name in PEOPLE]
    assert templates(taught(*files[:31], max_routes=40)) == set()
    assert templates(taught(*files[:32], max_routes=40)) == {"/static/{*}"}


def test_what_was_learned_is_taken_over() -> None:
    """After a restart a learned position is still variable, without any evidence."""
    learner = Learner()
    learner.adopt("/users/{*}/profile")
    learner.see("shop", "/users/alice/orders")
    assert templates(learner) == {"/users/{*}/profile", "/users/{*}/orders"}


def test_a_workload_that_is_gone_takes_no_memory() -> None:
    """What was learned from a workload outlives it, what was only seen does not."""
    learner = taught(*(f"/users/{name}/profile" for name in PEOPLE[:30]), "/about")
    learner.forget("shop")
    assert learner.workloads == []
    assert templates(learner) == {"/users/{*}/profile"}


names = st.one_of(
    st.sampled_from(
        [*PEOPLE, "me", "search", "v1", "app.js", "{id}", "{uuid}", "", "a-b-c-d", "x9y8"]
    ),
    st.text("abcdefgh0123", min_size=1, max_size=4),
)
texts = st.lists(names, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


# Another workload's name at a position that becomes variable by what this one is asked.
_SHIELDED_ELSEWHERE = [
    *((0, f"/{name}/alice") for name in ("alice", "dave", "0")),
    (0, "/00"),
    *((1, f"/{name}") for name in ("bob", "carol", "erin")),
    (0, "/bob"),
]


@example(_SHIELDED_ELSEWHERE, 3)
@given(st.lists(st.tuples(st.integers(0, 2), texts), max_size=300), st.integers(1, 8))
def test_whatever_is_seen_the_patterns_are_usable(
    seen: list[tuple[int, str]], threshold: int
) -> None:
    """Templates are valid patterns, distinct, and match the routes that they were made of."""
    learner = Learner(threshold=threshold, max_routes=1000)
    for workload, text in seen:
        learner.see(workload, text)
    learned = learner.patterns()
    assert len({p.shape for p in learned}) == len(learned)
    for pattern in learned:
        if "//" not in pattern.text:
            assert parse(pattern.text) == pattern
        assert None in pattern.segments
    for shield in learner.shields():
        assert any(
            len(p.segments) >= len(shield.segments) and p.segments[len(shield.segments) - 1] is None
            for p in learned
        )
    for _ in range(8):
        version = learner.version
        for workload, text in seen:
            learner.see(workload, text)
        if learner.version == version:
            break
    else:
        pytest.fail("the same routes teach something new for ever")

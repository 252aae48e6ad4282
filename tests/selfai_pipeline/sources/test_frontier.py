"""Which address is next: hosts take turns, and none has more than its share out."""

import time

from hypothesis import given
from hypothesis import strategies as st

from selfai_pipeline.sources.frontier import READ_AHEAD, Frontier


def host_of(item: str) -> str:
    return item[0]


def frontier(parts: list[list[str]], most: int = 2) -> Frontier[str]:
    remaining = list(parts)
    return Frontier(lambda: remaining.pop(0) if remaining else [], host_of=host_of, most=most)


def drain(one: Frontier[str]) -> list[str]:
    """What is handed out where everything ends at once."""
    seen = []
    while (item := one.next()) is not None:
        seen.append(item)
        one.ended(item)
    return seen


def test_hosts_take_turns() -> None:
    assert drain(frontier([["a1", "a2", "a3", "b1"], ["b2", "c1"]])) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_one_host_keeps_its_order() -> None:
    items = [f"a{number}" for number in range(7)]
    assert drain(frontier([items[:3], items[3:]])) == items


def test_a_host_is_asked_for_one_thing_until_it_is_known_how_it_wants_to_be_asked() -> None:
    one = frontier([["a1", "a2", "a3", "a4"]])
    assert [one.next(), one.next()] == ["a1", None]
    one.ended("a1")
    assert [one.next(), one.next(), one.next()] == ["a2", "a3", None]


def test_a_host_that_rests_holds_up_no_other_and_is_asked_when_it_has_rested() -> None:
    rests = {"a": 0.2, "b": 0.0}
    remaining = [["a1", "b1", "b2"]]
    one: Frontier[str] = Frontier(
        lambda: remaining.pop() if remaining else [],
        host_of=host_of,
        most=2,
        rest_of=rests.__getitem__,
    )
    assert drain(one) == ["b1", "b2"]
    assert one.rest is not None
    assert 0 < one.rest <= 0.2
    rests["a"] = 0.0
    time.sleep(0.21)
    assert one.next() == "a1"
    assert one.rest is None


def test_a_host_at_its_limit_waits_and_the_others_go_on() -> None:
    one = frontier([["a1", "a2", "a3", "b1"]], most=1)
    assert [one.next(), one.next(), one.next()] == ["a1", "b1", None]
    assert not one.is_done
    one.ended("a1")
    assert one.next() == "a2"


def test_it_is_done_when_all_has_ended_and_the_list_has_no_more() -> None:
    remaining = [["a1"]]
    one: Frontier[str] = Frontier(lambda: remaining.pop() if remaining else [], host_of=host_of, most=2)
    assert one.next() == "a1"
    assert one.next() is None
    assert not one.is_done
    remaining.append(["b1"])
    one.may_have_more = True
    one.ended("a1")
    assert not one.is_done
    assert drain(one) == ["b1"]
    assert one.is_done


def test_it_reads_no_further_ahead_than_it_may() -> None:
    reads = 0

    def read() -> list[str]:
        nonlocal reads
        reads += 1
        return [f"a{number}" for number in range(500)]

    assert Frontier(read, host_of=host_of, most=2).next() == "a0"
    assert reads == READ_AHEAD // 500


@given(st.lists(st.lists(st.from_regex(r"[abc][0-9]{3}", fullmatch=True), min_size=1)), st.integers(1, 4))
def test_everything_is_handed_out_once_and_no_host_exceeds_its_share(
    parts: list[list[str]], most: int
) -> None:
    one, out, seen = frontier(parts, most), [], []
    while not one.is_done:
        item = one.next()
        if item is not None:
            out.append(item)
            seen.append(item)
        elif out:
            one.ended(out.pop(0))
        assert max(sum(host_of(other) == host for other in out) for host in "abc") <= most
    assert sorted(seen) == sorted(item for part in parts for item in part)

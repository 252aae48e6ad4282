"""The log of promotions: nothing in it can be altered unseen, and it says to whom a rollback leads."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.lineage.promotions import (
    Champion,
    Kind,
    Promotion,
    PromotionLog,
    Way,
    append_promotion,
    promotion_lock,
    read_promotions,
)


def champion(version: int) -> Champion:
    return Champion(version, f"{version:064x}")


def entry(log: PromotionLog, version: int, *, kind: Kind = Kind.PROMOTION, **values: object) -> Promotion:
    return Promotion(
        number=len(log.entries) + 1,
        kind=kind,
        way=Way.HAND,
        model="selfai-scorer",
        champion=champion(version),
        before=log.champion,
        by="ann",
        at="2026-01-01T00:00:00+00:00",
        reason="it is better",
        previous=log.last_sha256,
        **values,
    )


def append(store, version: int, **values: object) -> Promotion:
    one = entry(read_promotions(store), version, **values)
    append_promotion(one, store=store)
    return one


def test_entries_come_back_in_order_with_everything_that_was_written(store):
    written = [
        append(store, 1),
        append(store, 2, overridden=("It is not shown to be better.",), evidence={"faces": 60, "gain": 0.1}),
        append(store, 1, kind=Kind.ROLLBACK),
    ]
    log = read_promotions(store)
    assert list(log.entries) == written
    assert log.champion == champion(1)
    assert log.last_sha256 == written[-1].sha256
    assert read_promotions(store) == log


def test_a_home_without_promotions_has_an_empty_log(store):
    assert read_promotions(store) == PromotionLog()
    assert PromotionLog().champion is None
    assert PromotionLog().line == []


def test_an_entry_that_was_altered_exchanged_or_taken_out_is_named(store):
    entries = [append(store, version) for version in (1, 2, 3)]
    paths = [store.files.local_path(one.path) for one in entries]
    contents = [path.read_bytes() for path in paths]

    paths[1].write_bytes(contents[1].replace(b"it is better", b"I like it   "))
    with pytest.raises(AlteredVersion, match=r"000002-.*its bytes now hash to"):
        read_promotions(store)
    paths[1].unlink()
    with pytest.raises(AlteredVersion, match=r"000003-.*does not follow on the entry before it"):
        read_promotions(store)
    forged = entry(PromotionLog(tuple(entries[:1]), "f" * 64), 2)
    store.files.write(forged.path, forged.to_json())
    with pytest.raises(AlteredVersion, match=r"000002-.*does not follow"):
        read_promotions(store)


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff", b'{"before": null}'])
def test_what_is_no_entry_is_named(store, content):
    import hashlib

    store.files.write(f"promotions/000001-{hashlib.sha256(content).hexdigest()}.json", content)
    with pytest.raises(AlteredVersion, match="no entry of the log of promotions"):
        read_promotions(store)
    store.files.delete(f"promotions/000001-{hashlib.sha256(content).hexdigest()}.json")
    store.files.write("promotions/notes.txt", b"mine")
    with pytest.raises(AlteredVersion, match=r"notes\.txt: this is no entry"):
        read_promotions(store)


def test_two_processes_cannot_move_the_champion_at_once(home):
    with (
        promotion_lock(home),
        pytest.raises(InputError, match="another process is moving the champion"),
        promotion_lock(home),
    ):
        pytest.fail("the lock is held")
    with promotion_lock(home):
        assert (home.root / "promotions.lock").exists()


def log_of(*moves: int) -> PromotionLog:
    """Promotions of these versions; 0 takes the champion back, where there is one before it."""
    log = PromotionLog()
    for version in moves:
        if version:
            one = entry(log, version)
        elif len(log.line) > 1:
            one = entry(log, log.line[-2].version, kind=Kind.ROLLBACK)
        else:
            continue
        log = PromotionLog((*log.entries, one), one.sha256)
    return log


@pytest.mark.parametrize(
    ("moves", "line"),
    [
        ([1], [1]),
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 0], [1]),
        ([1, 2, 3, 0, 0], [1]),
        ([1, 2, 0, 3], [1, 3]),
        ([1, 2, 1], [1, 2, 1]),
        ([1, 2, 1, 0], [1, 2]),
        ([1, 2, 1, 3, 0, 0], [1, 2]),
    ],
)
def test_rollbacks_lead_back_one_champion_at_a_time(moves, line):
    assert [one.version for one in log_of(*moves).line] == line


@given(st.lists(st.integers(0, 4), max_size=12))
@settings(deadline=None, max_examples=100)
def test_the_line_is_a_stack_whatever_was_done(moves):
    stack: list[int] = []
    for version in moves:
        if version and stack[-1:] != [version]:
            stack.append(version)
        elif not version and len(stack) > 1:
            stack.pop()
    log = log_of(*moves)
    assert [one.version for one in log.line] == stack
    assert (log.champion.version if log.champion else None) == (stack[-1] if stack else None)


def test_whom_a_scorer_has_to_beat_stays_when_it_is_promoted_and_when_it_is_taken_back():
    before = log_of(1)
    assert before.opponent_of(champion(2).checkpoint_sha256) == champion(1)
    assert log_of(1, 2).opponent_of(champion(2).checkpoint_sha256) == champion(1)
    assert log_of(1, 2, 0).opponent_of(champion(2).checkpoint_sha256) == champion(1)
    assert log_of(1, 2, 0, 3).opponent_of(champion(2).checkpoint_sha256) == champion(3)
    assert PromotionLog().opponent_of(champion(2).checkpoint_sha256) is None


def test_a_scorer_counts_as_taken_back_until_it_is_promoted_again():
    assert log_of(1, 2).taken_back(champion(2).checkpoint_sha256) is None
    rollback = log_of(1, 2, 0).taken_back(champion(2).checkpoint_sha256)
    assert rollback is not None
    assert rollback.number == 3
    assert log_of(1, 2, 0, 3).taken_back(champion(2).checkpoint_sha256) == rollback
    assert log_of(1, 2, 0, 2).taken_back(champion(2).checkpoint_sha256) is None


def test_an_entry_is_json_that_a_person_can_read(store):
    one = append(store, 1)
    values = json.loads(store.files.read(one.path))
    assert values["by"] == "ann"
    assert values["champion"] == {"version": 1, "checkpoint_sha256": champion(1).checkpoint_sha256}

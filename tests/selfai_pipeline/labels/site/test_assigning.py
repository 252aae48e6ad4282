"""Every face gets the wanted number of different annotators before any gets more, and never one too many."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from selfai_pipeline.labels.site.answering import Skip, give_score, skip
from selfai_pipeline.labels.site.assigning import Kind, expire
from selfai_pipeline.labels.site.crowd import half_widths, read_crowd, renew_targets
from selfai_pipeline.labels.site.database import assignments, faces
from selfai_pipeline.labels.site.faces import set_gold

COUNTS = sa.select(faces.c.taken, faces.c.rated, faces.c.target)
SCORED = sa.select(assignments.c.face, assignments.c.person, assignments.c.kind).where(
    assignments.c.state == "rated"
)


def test_every_face_gets_the_wanted_number_of_different_annotators_and_no_more(
    crowd: Callable[..., Any],
) -> None:
    site = crowd(5, wanted_annotators=2)
    scored = [site.score_all(site.person(name)) for name in ("ann", "ben", "cleo")]
    assert scored == [5, 5, 0]
    pairs = [(row.face, row.person) for row in site.rows(SCORED)]
    assert len(pairs) == len(set(pairs)) == 10
    assert {(row.taken, row.rated) for row in site.rows(COUNTS)} == {(2, 2)}


def test_what_is_shown_stays_the_same_until_it_is_answered(crowd: Callable[..., Any]) -> None:
    site = crowd()
    ann = site.person("ann")
    first = site.show(ann)
    assert site.show(ann) == first
    site.score(ann)
    assert site.show(ann).token != first.token


def test_many_who_ask_at_the_same_moment_never_exceed_the_target(crowd: Callable[..., Any]) -> None:
    """Twelve annotators, each asking twice at once, over faces that want two: a race for every place."""
    site = crowd(8, wanted_annotators=2)
    people = [site.person(f"p{number}") for number in range(12)]
    start = threading.Barrier(2 * len(people))
    troubles: list[Exception] = []

    def go(person: int) -> None:
        try:
            start.wait()
            for _ in range(8):
                shown = site.show(person)
                if shown is not None:
                    give_score(site.database, person, shown.token, 4)
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=go, args=(person,)) for person in people for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert {(row.taken, row.rated) for row in site.rows(COUNTS)} == {(2, 2)}
    pairs = [(row.face, row.person) for row in site.rows(SCORED)]
    assert len(pairs) == len(set(pairs)) == 16


def test_the_face_of_somebody_who_vanished_goes_to_others(crowd: Callable[..., Any]) -> None:
    site = crowd(1, wanted_annotators=1, assignment_minutes=10)
    ann, ben = site.person("ann"), site.person("ben")
    shown = site.show(ann)
    assert site.show(ben) is None
    with site.database.writing() as connection:
        connection.execute(sa.update(assignments).values(expires_at=0))
    expire(site.database)
    assert site.score(ben) is not None
    assert give_score(site.database, ann, shown.token, 3) == "too_late"
    assert [(row.taken, row.rated) for row in site.rows(COUNTS)] == [(1, 1)]


def test_a_late_score_counts_where_nobody_else_was_shown_the_face(crowd: Callable[..., Any]) -> None:
    site = crowd(1, wanted_annotators=1)
    ann = site.person("ann")
    shown = site.show(ann)
    with site.database.writing() as connection:
        connection.execute(sa.update(assignments).values(expires_at=0))
    expire(site.database)
    assert give_score(site.database, ann, shown.token, 3) == "kept"
    assert [(row.taken, row.rated) for row in site.rows(COUNTS)] == [(1, 1)]


def test_faces_with_a_wide_interval_get_further_annotators_once_all_have_the_wanted_number(
    crowd: Callable[..., Any],
) -> None:
    site = crowd(12, wanted_annotators=2, most_annotators=3, wide_interval=2.0)
    ann, ben, cleo = (site.person(name) for name in ("ann", "ben", "cleo"))
    numbers = sorted(row.id for row in site.rows(sa.select(faces.c.id)))
    disputed = numbers[3]

    def score(person: int, of: dict[int, int]) -> None:
        while (shown := site.show(person)) is not None:
            ((face,),) = site.rows(sa.select(assignments.c.face).where(assignments.c.id == shown.number))
            give_score(site.database, person, shown.token, of[face])

    agreed = {number: index % 10 for index, number in enumerate(numbers)}
    score(ann, agreed)
    assert renew_targets(site.database, settings=site.settings) == 0
    score(ben, {**agreed, disputed: 9})
    assert site.show(cleo) is None
    assert renew_targets(site.database, settings=site.settings) == 1
    widths = half_widths(read_crowd(site.database))
    assert numbers[int(widths.argmax())] == disputed
    shown = site.score(cleo)
    assert shown.kind is Kind.EXTRA
    # Three are the most that any face gets, however wide its interval stays.
    renew_targets(site.database, settings=site.settings)
    assert site.show(site.person("dora")) is None
    assert Counter(row.face for row in site.rows(SCORED))[disputed] == 3


def test_repeats_are_the_annotators_own_of_a_while_ago_and_count_for_no_face(
    crowd: Callable[..., Any],
) -> None:
    site = crowd(40, repeat_share=0.3, repeat_distance=5)
    ann = site.person("ann")
    site.score_all(ann)
    order = site.rows(sa.select(assignments.c.face, assignments.c.kind).order_by(assignments.c.answered_at))
    repeats = [index for index, row in enumerate(order) if row.kind == Kind.REPEAT]
    assert 5 <= len(repeats) <= 25
    for index in repeats:
        first = next(place for place, row in enumerate(order) if row.face == order[index].face)
        assert index - first > 5
    assert len({order[index].face for index in repeats}) == len(repeats)
    assert {(row.taken, row.rated) for row in site.rows(COUNTS)} == {(1, 1)}


def test_gold_is_shown_to_every_annotator_once(
    crowd: Callable[..., Any], image_id: Callable[[str], str]
) -> None:
    site = crowd(30, wanted_annotators=1, gold_share=0.4)
    scores = {image_id("face 1"): 7.0, image_id("face 2"): 2.0, image_id("gone"): 1.0}
    assert set_gold(site.database, scores, settings=site.settings) == 2
    people = [site.person(name) for name in ("ann", "ben")]
    for _ in range(14):
        for person in people:
            site.score(person)
    kinds = Counter((row.person, row.kind) for row in site.rows(SCORED))
    assert [kinds[person, Kind.GOLD] for person in people] == [2, 2]
    assert sum(kinds[person, Kind.NEW] for person in people) == 24


def test_new_faces_come_before_further_annotators(
    crowd: Callable[..., Any], aligned: Callable[..., Any], publish: Callable[..., None]
) -> None:
    site = crowd(2, wanted_annotators=1, most_annotators=3)
    ann, ben = site.person("ann"), site.person("ben")
    site.score_all(ann)
    with site.database.writing() as connection:
        connection.execute(sa.update(faces).values(half_width=5.0, target=2))
    publish(aligned(["late"], day="2026-01-02"))
    assert site.take_in() == 3
    assert [site.score(ben).kind for _ in range(3)] == [Kind.NEW, Kind.EXTRA, Kind.EXTRA]


def test_faces_of_a_day_that_failed_its_checks_or_is_gone_are_shown_to_nobody(
    crowd: Callable[..., Any], aligned: Callable[..., Any], publish: Callable[..., None]
) -> None:
    site = crowd(2, wanted_annotators=1)
    publish(aligned(["unchecked"], day="2026-01-02"), passed=False)
    publish(aligned(["face 0"]))
    assert site.take_in() == 1
    assert site.score_all(site.person("ann")) == 1
    publish(aligned(["face 0", "face 1"]))
    assert site.take_in() == 2
    assert site.score_all(site.person("ben")) == 1


def test_a_skipped_face_goes_to_others_in_place_of_the_one_who_skipped_it(crowd: Callable[..., Any]) -> None:
    site = crowd(1, wanted_annotators=1, skips_to_set_aside=2)
    ann, ben = site.person("ann"), site.person("ben")
    shown = site.show(ann)
    assert skip(site.database, ann, shown.token, Skip.NOT_A_FACE, settings=site.settings) == "kept"
    assert site.show(ann) is None
    assert site.score(ben) is not None


def test_gold_that_is_withdrawn_gets_the_wanted_number_like_all_others(
    crowd: Callable[..., Any], image_id: Callable[[str], str]
) -> None:
    site = crowd(2, wanted_annotators=3)
    set_gold(site.database, {image_id("face 0"): 7.0}, settings=site.settings)
    set_gold(site.database, {image_id("face 1"): 7.0}, settings=site.settings)
    targets = site.rows(sa.select(faces.c.image_id, faces.c.target))
    assert {row.image_id: row.target for row in targets} == {image_id("face 0"): 3, image_id("face 1"): 0}


def test_a_picture_with_several_faces_is_not_shown_since_no_score_of_it_could_be_used(
    crowd: Callable[..., Any], aligned: Callable[..., Any], publish: Callable[..., None]
) -> None:
    site = crowd(2, wanted_annotators=1)
    publish(aligned(["two friends"], day="2026-01-02", faces=2))
    # The first day that has crops of a picture counts, as in the label table.
    publish(aligned(["face 1", "two friends"], day="2026-01-03"))
    assert site.take_in() == 2
    assert site.score_all(site.person("ann")) == 2


@pytest.mark.parametrize("wanted", [1, 3])
def test_another_wanted_number_holds_for_faces_that_were_scored_already(
    crowd: Callable[..., Any], wanted: int
) -> None:
    site = crowd(3, wanted_annotators=2)
    names = ("ann", "ben", "cleo", "dora")
    ann, ben, *_ = people = [site.person(name) for name in names]
    site.score_all(ann)
    site.score(ben)
    site.settings = site.settings.model_copy(update={"wanted_annotators": wanted})
    site.take_in()
    for person in people:
        site.score_all(person)
    assert sorted(row.rated for row in site.rows(COUNTS)) == {1: [1, 1, 2], 3: [3, 3, 3]}[wanted]

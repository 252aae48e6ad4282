"""What is said is kept as it was said; reports take a picture out of circulation at once."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from selfai_pipeline.labels.site.answering import (
    FaceState,
    Skip,
    TakenBack,
    give_score,
    shown_crop,
    skip,
    undo,
)
from selfai_pipeline.labels.site.database import SECOND, answers, assignments, faces, now
from selfai_pipeline.labels.site.faces import remove_pictures
from selfai_pipeline.labels.site.ratings import everything_said, ratings_in, site_fingerprint, site_ratings
from selfai_pipeline.labels.site.reports import Decision, decide, undecided

COUNTS = sa.select(faces.c.taken, faces.c.rated)
SAID = sa.select(answers.c.said, answers.c.score, answers.c.reason).order_by(answers.c.id)


def test_an_answer_that_is_sent_twice_counts_once(crowd: Callable[..., Any]) -> None:
    site = crowd(1)
    ann = site.person("ann")
    shown = site.show(ann)
    assert give_score(site.database, ann, shown.token, 7) == "kept"
    assert give_score(site.database, ann, shown.token, 2) == "kept_before"
    assert [tuple(row) for row in site.rows(SAID)] == [("score", 7, None)]
    assert [tuple(row) for row in site.rows(COUNTS)] == [(1, 1)]


def test_nobody_answers_for_somebody_else(crowd: Callable[..., Any]) -> None:
    site = crowd(1)
    ann, ben = site.person("ann"), site.person("ben")
    token = site.show(ann).token
    assert give_score(site.database, ben, token, 7) == "unknown"
    assert skip(site.database, ben, token, Skip.NOT_A_FACE, settings=site.settings) == "unknown"
    assert site.rows(SAID) == []


def test_a_score_that_is_taken_back_is_asked_for_again_and_the_history_stays(
    crowd: Callable[..., Any],
) -> None:
    site = crowd(3)
    ann = site.person("ann")
    first = site.score(ann, 7)
    site.show(ann)
    assert undo(site.database, ann, settings=site.settings) == TakenBack(7, None)
    assert site.show(ann).token == first.token
    site.score(ann, 3)
    assert [tuple(row)[:2] for row in site.rows(SAID)] == [("score", 7), ("undo", None), ("score", 3)]
    assert sorted(tuple(row) for row in site.rows(COUNTS)) == [(0, 0), (0, 0), (1, 1)]
    said = list(everything_said(site.database))
    assert [(one["said"], one["counts"]) for one in said] == [
        ("score", False),
        ("undo", False),
        ("score", True),
    ]


def test_answers_are_taken_back_one_after_the_other(crowd: Callable[..., Any]) -> None:
    site = crowd(3)
    ann = site.person("ann")
    tokens = [site.score(ann, score).token for score in (1, 2)]
    assert [undo(site.database, ann, settings=site.settings).score for _ in range(2)] == [2, 1]
    assert site.show(ann).token == tokens[0]
    assert undo(site.database, ann, settings=site.settings) is None


@pytest.mark.parametrize("reason", [Skip.LOOKS_UNDER_AGE, Skip.SHOULD_NOT_BE_HERE])
def test_a_report_takes_the_picture_from_everybody_at_once_and_waits_for_a_decision(
    crowd: Callable[..., Any], reason: Skip
) -> None:
    site = crowd(1)
    ann, ben, boss = (site.person(name) for name in ("ann", "ben", "boss"))
    mine, others = site.show(ann), site.show(ben)
    assert skip(site.database, ann, mine.token, reason, settings=site.settings) == "kept"
    with site.database.reading() as connection:
        assert shown_crop(connection, ben, others.token) is None
        (report,) = undecided(connection)
    assert report.is_urgent
    assert [who for _, who in report.reasons] == ["ann"]
    assert give_score(site.database, ben, others.token, 5) == "too_late"
    assert site.show(ben) is None
    # An annotator cannot put it back; an administrator can.
    assert undo(site.database, ann, settings=site.settings) is None
    assert decide(site.database, boss, report.token, Decision.PUT_BACK)
    assert not decide(site.database, boss, report.token, Decision.KEEP_OUT)
    assert site.score(ben) is not None


def test_scores_of_a_picture_that_is_kept_out_leave_the_tables(crowd: Callable[..., Any], home: Any) -> None:
    site = crowd(2)
    ann, ben, boss = (site.person(name) for name in ("ann", "ben", "boss"))
    site.score_all(ann, 4)
    shown = site.show(ben)
    before = _ratings_of(site)
    skip(site.database, ben, shown.token, Skip.SHOULD_NOT_BE_HERE, settings=site.settings)
    assert len(_ratings_of(site)) == 1
    with site.database.reading() as connection:
        (report,) = undecided(connection)
    assert decide(site.database, boss, report.token, Decision.KEEP_OUT)
    assert len(_ratings_of(site)) == 1
    assert site_fingerprint(before) != site_fingerprint(_ratings_of(site))
    assert [one["state"] for one in everything_said(site.database)].count("kept_out") == 2


def _ratings_of(site: Any) -> list[Any]:
    return sorted(ratings_in(site.database))


def test_a_face_that_several_cannot_score_is_set_aside_and_comes_back_with_an_undo(
    crowd: Callable[..., Any],
) -> None:
    site = crowd(1, skips_to_set_aside=2)
    ann, ben, cleo = (site.person(name) for name in ("ann", "ben", "cleo"))
    for person in (ann, ben):
        shown = site.show(person)
        skip(site.database, person, shown.token, Skip.SEVERAL_PEOPLE, settings=site.settings)
    assert site.show(cleo) is None
    assert [row.state for row in site.rows(sa.select(faces.c.state))] == [FaceState.SET_ASIDE]
    assert undo(site.database, ben, settings=site.settings) == TakenBack(None, Skip.SEVERAL_PEOPLE)
    assert site.score(ben, 6) is not None
    assert site.score(cleo, 6) is not None


def test_a_skip_cannot_be_taken_back_once_others_have_the_face(crowd: Callable[..., Any]) -> None:
    site = crowd(1, wanted_annotators=1)
    ann, ben = site.person("ann"), site.person("ben")
    skip(site.database, ann, site.show(ann).token, Skip.NOT_A_FACE, settings=site.settings)
    site.score(ben)
    assert undo(site.database, ann, settings=site.settings) is None
    assert [tuple(row) for row in site.rows(COUNTS)] == [(1, 1)]


def test_an_undo_that_comes_to_nothing_puts_no_face_back(crowd: Callable[..., Any]) -> None:
    site = crowd(1, skips_to_set_aside=2)
    ann, ben, cleo = (site.person(name) for name in ("ann", "ben", "cleo"))
    skip(site.database, ann, site.show(ann).token, Skip.NOT_A_FACE, settings=site.settings)
    site.score(ben)
    site.score(cleo)
    ((face,),) = site.rows(sa.select(faces.c.id))
    again = {"token": "t" * 43, "person": ben, "face": face, "kind": "repeat", "state": "open"}
    with site.database.writing() as connection:
        connection.execute(assignments.insert().values(**again, expires_at=now() + 60 * SECOND))
    skip(site.database, ben, again["token"], Skip.NOT_A_FACE, settings=site.settings)
    assert undo(site.database, ann, settings=site.settings) is None
    assert [row.state for row in site.rows(sa.select(faces.c.state))] == [FaceState.SET_ASIDE]


def test_the_last_answer_is_taken_back_where_the_clock_was_set_back_before_it(
    crowd: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = crowd(2)
    ann = site.person("ann")
    site.score(ann, 3)
    an_hour_ago = now() - 3600 * SECOND
    monkeypatch.setattr("selfai_pipeline.labels.site.answering.now", lambda: an_hour_ago)
    site.score(ann, 8)
    assert undo(site.database, ann, settings=site.settings) == TakenBack(8, None)


def test_a_removed_picture_leaves_nothing(crowd: Callable[..., Any], image_id: Callable[[str], str]) -> None:
    site = crowd(2)
    ann = site.person("ann")
    site.score_all(ann)
    assert remove_pictures(site.database, [image_id("face 0"), image_id("unknown")]) == 1
    for table in (faces, assignments, answers):
        assert len(site.rows(sa.select(table.c.id))) == 1
    assert {one["image"] for one in everything_said(site.database)} == {image_id("face 1")}


def test_without_a_site_there_are_no_ratings(home: Any) -> None:
    assert site_ratings(home) is None
    assert not home.own_annotations.exists()

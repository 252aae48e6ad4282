"""Exports of Label Studio become ratings; what nobody meant as one is listed and counts against nothing."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.importing import import_folder
from selfai_pipeline.labels.label_studio import annotator_of, picture_name
from selfai_pipeline.labels.left_out import list_path
from selfai_pipeline.labels.ratings_file import Ratings, read_ratings
from selfai_pipeline.sources.settings import RatingsFile, load_sources

MOMENT = "2026-03-09T22:16:08.728353Z"


def result(value: Any, *, tag: str = "score", kind: str = "rating") -> dict[str, Any]:
    return {
        "id": "Dx_aB91ISN",
        "from_name": tag,
        "to_name": "img",
        "type": kind,
        "origin": "manual",
        "value": {kind: value},
    }


def annotation(number: int, who: Any, *results: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "id": number,
        "completed_by": who,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-03-01T00:00:00Z",
        "updated_at": MOMENT,
        "lead_time": 4.288,
        **other,
    }


def task(image: str, *annotations: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    """A task as the export "JSON" has it."""
    data = {"image": image, **other.pop("data", {})}
    return {
        "id": 1,
        "data": data,
        "annotations": list(annotations),
        "drafts": [],
        "predictions": [],
        "meta": {},
        "created_at": "2026-03-01T00:00:00Z",
        "updated_at": MOMENT,
        "project": 83,
        "total_annotations": len(annotations),
        **other,
    }


def exported(home: Home, items: Sequence[Any], **options: Any) -> Ratings:
    path = home.imports / "export.json"
    path.write_text(json.dumps(items))
    return read_ratings(RatingsFile.model_validate({"path": str(path), **options}), home=home)


def why(ratings: Ratings) -> list[tuple[int, str, str, str]]:
    return [(row.line, row.name, str(row.reason), row.detail) for row in ratings.left_out]


def test_each_annotation_is_a_rating(home: Home) -> None:
    ratings = exported(
        home,
        [
            task(
                "/data/upload/83/0a1b2c3d-1.jpg",
                annotation(11, 7, result(4)),
                annotation(12, {"id": 8, "email": "ann@example.org", "first_name": "Ann"}, result(2)),
                data={"split": "train", "meta": {"camera": 3}},
            ),
            task("/data/upload/83/0a1b2c3d-2.jpg", annotation(13, 7, result(5))),
            task("/data/upload/83/0a1b2c3d-3.jpg"),
        ],
        minimum=1,
        maximum=5,
    )
    assert ratings.names == ["1.jpg", "1.jpg", "2.jpg"]
    assert ratings.annotators == ["7", "8", "7"]
    assert ratings.original_scores.tolist() == [4, 2, 5]
    assert ratings.rated_at == [datetime(2026, 3, 9, 22, 16, 8, 728353, tzinfo=UTC)] * 3
    assert json.loads(ratings.attributes[0]) == {"split": "train", "meta": '{"camera": 3}'}
    assert ratings.attributes[2] == "{}"
    assert (ratings.read, ratings.left_out) == (3, [])


def test_of_two_annotations_by_one_annotator_the_later_counts(home: Home) -> None:
    earlier = annotation(11, 7, result(4), updated_at="2026-01-01T00:00:00Z")
    ratings = exported(home, [task("1.jpg", annotation(12, 7, result(2)), earlier)])
    assert (ratings.original_scores.tolist(), ratings.superseded) == ([2], 1)


def test_what_is_no_rating_is_left_out_with_its_reason(home: Home) -> None:
    ratings = exported(
        home,
        [
            task("1.jpg", annotation(11, 7, result(4)), predictions=[{"id": 5, "result": [result(9)]}]),
            task(
                "2.jpg",
                annotation(12, 7, was_cancelled=True),
                annotation(13, 8),
                annotation(14, 9, result(3), result(4)),
                annotation(15, None, result(3)),
                annotation(16, 6, result(30)),
            ),
            {"image": "3.jpg", "annotator": 3},
            {**task("4.jpg"), "annotations": [17]},
        ],
    )
    assert why(ratings) == [
        (1, "1.jpg", "prediction", "prediction 5 was made by a model"),
        (2, "2.jpg", "no_annotator", "'annotations.completed_by' is empty"),
        (2, "2.jpg", "out_of_range", "the score 30 is outside of 0..9"),
        (2, "2.jpg", "cancelled", "annotation 12 was cancelled"),
        (2, "2.jpg", "no_result", "annotation 13 has no results of 'score'"),
        (2, "2.jpg", "no_result", "annotation 14 has 2 results of 'score'"),
        (3, "", "no_result", "it is no task of an export"),
        (4, "4.jpg", "no_result", "an annotation is no object"),
    ]
    assert ratings.read == 7


def test_an_export_of_which_nothing_is_a_rating_says_so(home: Home) -> None:
    with pytest.raises(InputError, match=r"item 1: annotation 11 was cancelled; none of its 1 rows"):
        exported(home, [task("1.jpg", annotation(11, 7, was_cancelled=True))])
    with pytest.raises(InputError, match="it has no rows"):
        exported(home, [task("1.jpg")])


@pytest.mark.parametrize(
    ("results", "score"),
    [
        ([result(4.5, kind="number")], 4.5),
        ([result(["7"], kind="choices")], 7),
        ([result(3, tag="beauty")], 3),
        ([result(3, tag="beauty"), result(["female"], tag="gender", kind="choices")], 3),
        ([result(3, tag="beauty"), result(8)], 8),
        ([result(3), {**result(["x"], tag="box"), "type": "rectanglelabels"}], 3),
        ([result(3), result(3)], 3),
    ],
    ids=["number", "choice", "the only tag", "the only number", "by name", "with a region", "said twice"],
)
def test_the_tag_with_the_score_is_the_named_one_or_the_only_one_that_can_be(
    home: Home, results: list[dict[str, Any]], score: float
) -> None:
    ratings = exported(home, [task("1.jpg", annotation(11, 7, *results))])
    assert ratings.original_scores.tolist() == [score]


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        (
            [result(3, tag="beauty"), result(4, tag="age", kind="number")],
            {},
            "it has several tags with numbers: 'age', 'beauty'.*with --score-column",
        ),
        (
            [result(3, tag="beauty")],
            {"score_column": "charm"},
            "no annotation has a result of 'charm'; its tags are 'beauty'.*with --score-column",
        ),
        (
            [result(["bad"], tag="mark", kind="choices")],
            {},
            "has a result of 'score'; its tags are 'mark'",
        ),
        ([], {}, "its tags are none with a rating, a number or choices"),
        ([result(3)], {"picture_column": "img"}, "no task has 'img' in its data; it has 'image'.*--picture-"),
        ([result(3)], {"annotator_column": ""}, "holds single ratings and no means.*Give it with --ratings"),
    ],
)
def test_what_is_not_clear_is_asked_for(
    home: Home, results: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        exported(home, [task("1.jpg", annotation(11, 7, *results))], **options)
    assert caught.value.where == str(home.imports / "export.json")


def small(image: str, number: int | None, who: Any, **tags: Any) -> dict[str, Any]:
    """A record as the export "JSON-MIN" has it."""
    moments = {"created_at": MOMENT, "updated_at": MOMENT, "lead_time": 1.5}
    return {"image": image, "id": 1, **tags, "annotator": who, "annotation_id": number, **moments}


def test_the_small_export_says_the_same(home: Home) -> None:
    items = [
        small("/data/upload/1/0a1b2c3d-1.jpg", 11, 7, beauty=[{"rating": 4}], gender="female"),
        small("/data/upload/1/0a1b2c3d-1.jpg", 12, 8, beauty=[{"rating": 2}]),
        small("/data/upload/1/0a1b2c3d-2.jpg", 13, 8),
        small("/data/upload/1/0a1b2c3d-3.jpg", None, None),
    ]
    ratings = exported(home, items)
    assert list(zip(ratings.names, ratings.annotators or [], ratings.original_scores, strict=True)) == [
        ("1.jpg", "7", 4),
        ("1.jpg", "8", 2),
    ]
    assert ratings.rated_at[0] == datetime(2026, 3, 9, 22, 16, 8, 728353, tzinfo=UTC)
    assert ratings.attributes == ['{"gender": "female"}', "{}"]
    assert why(ratings) == [(3, "2.jpg", "no_result", "annotation 13 has no results of 'beauty'")]
    choices = exported(home, [small("1.jpg", 11, 7, mark="6")], score_column="mark")
    assert choices.original_scores.tolist() == [6]
    with pytest.raises(InputError, match="several tags with numbers: 'age', 'beauty'"):
        exported(home, [small("1.jpg", 11, 7, beauty=[{"rating": 4}], age=[{"number": 40}])])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("/data/upload/83/0a1b2c3d-me%20and%20you.jpg", "me and you.jpg"),
        ("/data/upload/0a1b2c3d-deadbeef-1.jpg", "deadbeef-1.jpg"),
        ("https://studio.example.org/data/upload/83/0a1b2c3d-1.jpg", "1.jpg"),
        ("/data/local-files/?d=all/faces/1%20a.jpg", "/all/faces/1 a.jpg"),
        ("/data/local-files/?x=1", ""),
        ("s3://bucket/faces/1.jpg", "s3://bucket/faces/1.jpg"),
        ("https://example.org/1.jpg?w=3", "https://example.org/1.jpg?w=3"),
        ("faces/1.jpg", "faces/1.jpg"),
        ("http://[broken", "http://[broken"),
        ("data:image/png;base64,AAAA", ""),
        (["1.jpg"], ""),
        (None, ""),
    ],
)
def test_the_name_of_a_picture(value: Any, name: str) -> None:
    assert picture_name(value) == name


def test_an_e_mail_address_is_never_the_name_of_an_annotator() -> None:
    assert annotator_of(7) == annotator_of({"id": 7, "email": "ann@example.org"}) == "7"
    hashed = annotator_of({"email": "Ann@example.org"})
    assert hashed == annotator_of("ann@example.org ")
    assert hashed.startswith("email-")
    assert "ann" not in hashed
    assert "@" not in hashed
    assert (annotator_of("ann"), annotator_of(None), annotator_of({})) == ("ann", "", "")


def test_an_export_is_imported_and_its_pictures_found(tmp_path: Path, home: Home) -> None:
    folder = tmp_path / "faces"
    for name in ("1.jpg", "inner/2.jpg", "inner/3.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"bytes")
    items = [
        task("/data/upload/83/0a1b2c3d-1.jpg", annotation(11, 7, result(4))),
        task("/data/local-files/?d=all/faces/inner/2.jpg", annotation(12, 7, result(4))),
        task("https://example.org/faces/inner/3.jpg?w=9", annotation(13, 7, result(3))),
        task("/data/local-files/?d=all/faces/other/2.jpg", annotation(14, 7, result(4))),
        task("1.jpg", annotation(15, 9, was_cancelled=True), predictions=[{"id": 1}] * 9),
    ]
    (tmp_path / "export.json").write_text(json.dumps(items))
    summary = import_folder(folder, home=home, day="2026-02-01", ratings=tmp_path / "export.json")
    assert (summary.rated, summary.ratings, summary.annotators) == (3, 3, 1)
    assert summary.left_out == {"prediction": 9, "unmatched": 1, "cancelled": 1}
    assert "'/all/faces/other/2.jpg' names no picture" in list_path(home, "faces").read_text()
    (source,) = load_sources(home.sources_file)
    assert source.ratings[0].path.endswith(".json")
    assert len(read_ratings(source.ratings[0], home=home)) == 4


def test_an_export_of_too_many_annotations_is_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfai_pipeline.labels.label_studio.MOST_ANNOTATIONS", 3)
    tasks = [
        task("1.jpg", *(annotation(number, number, result(3)) for number in range(3))),
        task("2.jpg", annotation(9, 1, result(3), was_cancelled=True)),
    ]
    path = home.imports / "project.json"
    path.write_text(json.dumps(tasks))
    with pytest.raises(InputError, match=r"project\.json, item 2: it has more than 3 annotations"):
        read_ratings(RatingsFile(path=str(path)), home=home)

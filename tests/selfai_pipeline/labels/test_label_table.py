"""The label table: one row a rated face, split by cluster, balanced over training, with a noise ceiling."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.label_table import build_label_table
from selfai_pipeline.labels.scores import score_pictures
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.pictures.measures import thumbnail_of
from selfai_pipeline.pictures.perceptual_hash import perceptual_hash
from selfai_pipeline.schemas import ALIGNED_FACES
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

Rating = tuple[str, str | None, float]
Build = Callable[..., TableRef]


def names_of(rows: list[Rating]) -> list[str]:
    return sorted({name for name, _, _ in rows})


@pytest.fixture
def build(store: Store, annotated: Callable[..., TableRef], aligned: Callable[..., TableRef]) -> Build:
    """The label table of ratings whose pictures all have one face."""

    def make(rows: list[Rating], *, options: dict[str, Any] | None = None, **annotations: Any) -> TableRef:
        faces = aligned(names_of(rows))
        return build_label_table(
            annotated(rows, **annotations),
            Snapshot({faces.partition: faces}),
            store=store,
            settings=LabelSettings(**(options or {})),
        )

    return make


def test_each_rated_face_is_a_row_with_a_side_and_a_weight(
    build: Build, store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    ref = build(crowd(pictures=100))
    rows = store.tables.read(ref).to_pylist()
    assert len(rows) == 100
    assert [row["image_id"] for row in rows] == sorted(row["image_id"] for row in rows)
    counts = Counter(row["split"] for row in rows)
    facts = store.tables.facts(ref)
    assert facts["counts"] == dict(counts)
    assert set(counts) == {"train", "validation", "test"}
    assert sum(row["weight"] for row in rows) == pytest.approx(1)
    assert all((row["weight"] > 0) == (row["split"] == "train") for row in rows)
    by_class: Counter[int] = Counter()
    for row in rows:
        by_class[row["class"]] += row["weight"]
    assert np.ptp([weight for weight in by_class.values() if weight]) == pytest.approx(0, abs=1e-12)
    assert sum(facts["class_counts"].values()) == 100
    assert sum(facts["train_class_counts"].values()) == counts["train"]


@pytest.mark.parametrize("balance", ["class_first", "smoothed", "none"])
def test_how_training_draws_is_a_setting_and_is_counted_before_and_after(
    build: Build, store: Store, crowd: Callable[..., list[Rating]], balance: str
) -> None:
    ref = build(crowd(pictures=120), options={"balance": balance})
    rows, facts = store.tables.read(ref).to_pylist(), store.tables.facts(ref)
    assert all((row["weight"] > 0) == (row["split"] == "train") for row in rows)
    draws, faces = facts["train_class_draws"], facts["train_class_counts"]
    assert sum(draws.values()) == pytest.approx(1)
    of_faces = {name: count / facts["counts"]["train"] for name, count in faces.items()}
    assert (draws == pytest.approx(of_faces)) == (balance == "none")
    present = [share for name, share in draws.items() if faces[name]]
    assert (np.ptp(present) == pytest.approx(0, abs=1e-12)) == (balance == "class_first")


def test_the_noise_ceiling_is_what_the_true_scores_reach(
    build: Build, store: Store, crowd: Callable[..., list[Rating]], image_id: Callable[[str], str]
) -> None:
    ref = build(crowd(pictures=400, annotators=3, noise=1.5))
    facts = store.tables.facts(ref)
    truth = {image_id(f"p{j:03}"): score for j, score in enumerate(np.linspace(1, 8, 400))}
    table = store.tables.read(ref)
    reached = np.corrcoef(
        [truth[one] for one in table.column("image_id").to_pylist()], table.column("score").to_numpy()
    )[0, 1]
    assert facts["noise_ceiling"] == pytest.approx(reached, abs=0.02)
    assert facts["noise_ceiling"] == pytest.approx(facts["reliability"] ** 0.5)
    assert facts["noise_ceiling_reason"] == "from the standard errors of 400 of 400 faces"
    assert facts["annotators"] == 3


def test_without_single_ratings_there_is_no_ceiling_but_a_reason(
    build: Build, store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    means: list[Rating] = [(name, None, score) for name, who, score in crowd(pictures=80) if who == "a0"]
    ref = build(means, counts={name: 10 for name, _, _ in means})
    facts = store.tables.facts(ref)
    assert facts["noise_ceiling"] is None
    assert facts["reliability"] is None
    assert facts["noise_ceiling_reason"].startswith("only means were given")
    table = store.tables.read(ref)
    assert table.column("standard_error").null_count == 80
    assert set(table.column("annotators").to_pylist()) == {10}


def test_one_annotator_gives_no_ceiling_but_a_reason(
    build: Build, store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd(pictures=80, annotators=1)
    facts = store.tables.facts(build(rows, options={"least_annotators": 1}))
    assert (facts["noise_ceiling"], facts["noise_ceiling_reason"]) == (None, "no picture has two ratings")


def test_the_same_input_gives_the_same_table(build: Build, crowd: Callable[..., list[Rating]]) -> None:
    rows = crowd()
    assert build(rows) == build(list(rows))


def test_pictures_without_a_face_and_faces_without_ratings_are_no_rows(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
) -> None:
    rows = crowd(pictures=80)
    names = names_of(rows)
    found = aligned([*names[:70], "unrated"])
    lost = aligned(names[70:], day="2026-01-02", reason="no_face")
    faces = Snapshot({"2026-01-01": found, "2026-01-02": lost})
    ref = build_label_table(annotated(rows), faces, store=store, settings=LabelSettings())
    assert ref.rows == 70
    assert store.tables.facts(ref)["left_out"]["no_face"] == 10


def test_a_picture_of_two_days_counts_once_on_the_first_that_has_its_face(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
    image_id: Callable[[str], str],
) -> None:
    rows = crowd(pictures=60)
    names = names_of(rows)
    faces = Snapshot(
        {
            "2026-01-03": aligned(names, day="2026-01-03"),
            "2026-01-02": aligned(names[:30], day="2026-01-02"),
            "2026-01-01": aligned(names[:1], day="2026-01-01", reason="no_face"),
        }
    )
    ref = build_label_table(annotated(rows), faces, store=store, settings=LabelSettings())
    day = {row["image_id"]: row["partition"] for row in store.tables.read(ref).to_pylist()}
    assert len(day) == ref.rows == 60
    assert {day[image_id(name)] for name in names[:30]} == {"2026-01-02"}
    assert {day[image_id(name)] for name in names[30:]} == {"2026-01-03"}


def test_a_rating_of_a_picture_with_several_crops_is_no_label(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
    image_id: Callable[[str], str],
) -> None:
    """Nobody knows which of the faces the rating means."""
    rows = crowd(pictures=70)
    names = names_of(rows)
    faces = Snapshot({"2026-01-01": aligned(names[:60]), "2026-01-02": aligned(names[60:], faces=2)})
    ref = build_label_table(annotated(rows), faces, store=store, settings=LabelSettings())
    table = store.tables.read(ref).to_pylist()
    assert [row["image_id"] for row in table] == sorted(map(image_id, names[:60]))
    left_out = store.tables.facts(ref)["left_out"]
    assert (left_out["several_faces"], left_out["no_face"]) == (10, 0)
    several = Snapshot({"2026-01-01": aligned(names, faces=2)})
    with pytest.raises(InputError, match=r"140 faces with a crop, 70 rated pictures with several"):
        build_label_table(annotated(rows), several, store=store, settings=LabelSettings())


def test_near_duplicates_of_two_days_are_on_one_side(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
) -> None:
    rows = crowd(pictures=120)
    names = names_of(rows)
    generator = np.random.default_rng(0)
    # Every second picture is a copy of the one before it.
    width = ALIGNED_FACES.field("perceptual_hash").type.byte_width
    originals = [generator.bytes(width) for _ in range(60)]
    hashes = {name: originals[k // 2] for k, name in enumerate(names)}
    faces = Snapshot(
        {
            "2026-01-01": aligned(names[::2], hashes=hashes),
            "2026-01-02": aligned(names[1::2], day="2026-01-02", hashes=hashes),
        }
    )
    ref = build_label_table(annotated(rows), faces, store=store, settings=LabelSettings(duplicate_radius=8))
    table = store.tables.read(ref).to_pylist()
    assert len({row["cluster"] for row in table}) == 60
    assert len({(row["cluster"], row["split"]) for row in table}) == 60
    assert store.tables.facts(ref)["clusters"] == 60
    # Near-duplicates of these faces can be found in the table alone.
    assert Counter(row["perceptual_hash"] for row in table) == dict.fromkeys(originals, 2)
    assert store.tables.facts(ref)["duplicate_radius"] == 8


@pytest.mark.parametrize("crops_on_the_first_day", [True, False])
def test_a_cropped_copy_of_another_day_is_on_the_side_of_its_original(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
    crops_on_the_first_day: bool,
) -> None:
    """The hashes of the two are as far apart as those of strangers; their thumbnails tell."""
    rows = crowd(pictures=60)
    names = names_of(rows)
    generator = np.random.default_rng(0)
    shown, hashes = {}, {}
    for original, copy in zip(names[::2], names[1::2], strict=True):
        coarse = generator.integers(0, 256, (12, 12), dtype=np.uint8)
        picture = np.asarray(cv2.resize(coarse, (240, 240), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        for name, luma in ((original, picture), (copy, picture[12:, :228])):
            square = thumbnail_of(np.ascontiguousarray(luma))
            shown[name], hashes[name] = square.tobytes(), perceptual_hash(square)
    days = [names[::2], names[1::2]]
    if crops_on_the_first_day:
        days.reverse()
    faces = Snapshot(
        {
            day: aligned(members, day=day, hashes=hashes, thumbnails=shown)
            for day, members in zip(("2026-01-01", "2026-01-02"), days, strict=True)
        }
    )
    clusters = {}
    for correlation in (0.97, 1.1):
        settings = LabelSettings(duplicate_correlation=correlation, least_rows=2)
        ref = build_label_table(annotated(rows), faces, store=store, settings=settings)
        table = store.tables.read(ref).to_pylist()
        clusters[correlation] = {row["cluster"] for row in table}
        assert len({(row["cluster"], row["split"]) for row in table}) == len(clusters[correlation])
        assert store.tables.facts(ref)["duplicate_correlation"] == correlation
        assert {row["thumbnail"] for row in table} == set(shown.values())
    assert len(clusters[0.97]) == 30 < len(clusters[1.1])


def test_a_later_day_and_later_ratings_move_nobody(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
) -> None:
    rows = crowd(pictures=200)
    names = names_of(rows)
    generator = np.random.default_rng(0)
    width = ALIGNED_FACES.field("perceptual_hash").type.byte_width
    originals = [generator.bytes(width) for _ in range(100)]
    hashes = {name: originals[k // 2] for k, name in enumerate(names)}
    first = aligned(names[::2], hashes=hashes)
    second = aligned(names[1::2], day="2026-01-02", hashes=hashes)

    def sides(ratings: list[Rating], *days: TableRef) -> dict[str, str]:
        faces = Snapshot({day.partition: day for day in days})
        ref = build_label_table(
            annotated(ratings), faces, store=store, settings=LabelSettings(duplicate_radius=8)
        )
        return {row["image_id"]: row["split"] for row in store.tables.read(ref).to_pylist()}

    before = sides([row for row in rows if row[0] in set(names[::2])], first)
    after = sides(rows, first, second)
    assert len(before) == 100
    assert {one: after[one] for one in before} == before
    # The later near-duplicate was rated first.
    early = sides([row for row in rows if row[0] in set(names[1::2])], first, second)
    assert {one: after[one] for one in early} == early


def test_pictures_of_one_person_are_on_one_side(
    build: Build, store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd(pictures=120)
    persons = {name: {"who": f"X{k % 40}"} for k, name in enumerate(names_of(rows))}
    ref = build(rows, attributes=persons, options={"person_column": "who"})
    table = store.tables.read(ref).to_pylist()
    assert (
        len({row["cluster"] for row in table}) == len({(row["cluster"], row["split"]) for row in table}) == 40
    )


def test_a_given_split_is_kept(
    build: Build, store: Store, crowd: Callable[..., list[Rating]], image_id: Callable[[str], str]
) -> None:
    rows = crowd(pictures=100)
    given = {name: {"split": "test" if k < 30 else "train"} for k, name in enumerate(names_of(rows))}
    table = store.tables.read(build(rows, attributes=given)).to_pylist()
    side = {row["image_id"]: row["split"] for row in table}
    assert all((side[image_id(name)] == "test") == (one["split"] == "test") for name, one in given.items())
    assert "validation" in side.values()
    ignored = store.tables.read(build(rows, attributes=given, options={"split_column": ""})).to_pylist()
    assert {row["image_id"]: row["split"] for row in ignored} != side


def test_the_group_and_what_else_is_known_about_a_picture_come_along(
    build: Build, store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd(pictures=60)
    attributes = {name: {"sex": "F" if k % 2 else "M"} for k, name in enumerate(names_of(rows))}
    table = store.tables.read(build(rows, attributes=attributes, options={"group_column": "sex"})).to_pylist()
    assert {(row["group"], row["attributes"]) for row in table} == {
        ("F", '{"sex": "F"}'),
        ("M", '{"sex": "M"}'),
    }


def test_columns_that_differ_between_ratings_are_not_about_the_picture(
    build: Build,
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Any,
) -> None:
    rows = crowd(pictures=60)
    faces = aligned(names_of(rows))
    table = store.tables.read(annotated(rows)).to_pylist()
    for k, row in enumerate(table):
        row["attributes"] = f'{{"device": "d{k}", "group": "A"}}'
    ref = build_label_table(
        store.tables.write(table, asset="annotations"),
        Snapshot({"d": faces}),
        store=store,
        settings=LabelSettings(),
    )
    assert {row["attributes"] for row in store.tables.read(ref).to_pylist()} == {'{"group": "A"}'}
    assert store.tables.facts(ref)["differing_attributes"] == 60


def test_scores_stay_on_the_scale(
    build: Build, store: Store, annotated: Callable[..., TableRef], image_id: Callable[[str], str]
) -> None:
    severe: list[Rating] = [(f"p{j:03}", f"severe{k}", j / 15) for j in range(90) for k in range(2)]
    kind: list[Rating] = [(f"p{j:03}", f"kind{k}", j / 15 + 2) for j in range(90) for k in range(2)]
    # The severe ones alone rate this picture: with their bias taken out it is beyond the scale.
    best: list[Rating] = [("best", f"severe{k}", 9.0) for k in range(2)]
    rows = [*severe, *kind, *best]
    crowd = score_pictures(store.tables.read(annotated(rows)), settings=LabelSettings())
    assert crowd.pictures[image_id("best")].score > 9.5
    table = store.tables.read(build(rows)).to_pylist()
    assert next(row["score"] for row in table if row["image_id"] == image_id("best")) == 9
    assert max(row["class"] for row in table) == 9


def test_ratings_of_one_class_make_no_table(build: Build, crowd: Callable[..., list[Rating]]) -> None:
    rows = [(name, who, 5.0) for name, who, _ in crowd()]
    with pytest.raises(InputError, match=r"^classes of the rated faces: all 60 are of class 5") as caught:
        build(rows)
    assert "\n" not in str(caught.value)


def test_given_splits_without_a_test_say_what_is_missing(
    build: Build, crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd()
    given = {name: {"split": "val" if k % 5 == 0 else "train"} for k, name in enumerate(names_of(rows))}
    with pytest.raises(InputError, match=r"only 0 of 60 fall to test.* give 3 of test there too"):
        build(rows, attributes=given)


def test_too_few_rows_to_split_make_no_table(build: Build, crowd: Callable[..., list[Rating]]) -> None:
    with pytest.raises(
        InputError, match=r"^splits of the rated faces: only \d of 8 fall to \w+, where 3 are needed"
    ):
        build(crowd(pictures=8))


def test_a_training_split_of_one_class_makes_no_table(
    build: Build, crowd: Callable[..., list[Rating]]
) -> None:
    sides = ["train", "validation", "test"]
    rows: list[Rating] = [
        (name, who, 5.0 if int(name[1:]) % 3 == 0 else 7.0) for name, who, _ in crowd(pictures=30)
    ]
    given = {name: {"split": sides[int(name[1:]) % 3]} for name in names_of(rows)}
    with pytest.raises(InputError, match="all of the training split are of class 5"):
        build(rows, attributes=given)


def test_no_rated_face_makes_no_table(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
) -> None:
    faces = Snapshot({"2026-01-01": aligned(["other"])})
    with pytest.raises(InputError, match=r"has one aligned face \(60 pictures rated, 1 faces"):
        build_label_table(annotated(crowd()), faces, store=store, settings=LabelSettings())
    with pytest.raises(InputError, match=r"\(0 pictures rated"):
        build_label_table(annotated([]), Snapshot({}), store=store, settings=LabelSettings())


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("train", "test"), "a picture is given as test and as train"),
        (("train", "foo"), "it holds a value that is no split"),
    ],
)
def test_a_split_that_cannot_be_kept_is_an_error_that_names_no_picture(
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
    cells: tuple[str, str],
    message: str,
) -> None:
    rows = crowd()
    table = store.tables.read(annotated(rows)).to_pylist()
    table[0]["attributes"], table[1]["attributes"] = (f'{{"split": "{cell}"}}' for cell in cells)
    with pytest.raises(InputError, match=f"^column 'split' of faces:ratings.csv: {message}") as caught:
        build_label_table(
            store.tables.write(table, asset="annotations"),
            Snapshot({"d": aligned(names_of(rows))}),
            store=store,
            settings=LabelSettings(),
        )
    # The message goes into the event log.
    assert table[0]["image_id"] not in str(caught.value)


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave something to train on"):
        LabelSettings(test_share=0.6, validation_share=0.4)

"""Scores of the annotation site reach the table `annotations`, and a new one makes it out of date."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from assets.annotations import annotations
from assets.graph import LABELS, is_current, stale_assets
from assets.raw_crawl import raw_crawl
from selfai_pipeline.labels.site.answering import Skip, give_score, skip, undo
from selfai_pipeline.labels.site.assigning import next_assignment
from selfai_pipeline.labels.site.database import SiteDatabase, faces, people
from selfai_pipeline.labels.site.people import invite
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile
from selfai_pipeline.tables import WHOLE

SETTINGS = SiteSettings(repeat_share=0.0, gold_share=0.0)


class Annotating:
    """The site of a workplace, whose faces are the stored pictures of its crawl."""

    def __init__(self, work: Any) -> None:
        self.database = SiteDatabase(work.home.annotations_url)
        rows = [
            {"image_id": row["image_id"], "crop_sha256": "0" * 64, "place": number + 1, "target": 2}
            for number, row in enumerate(work.rows("raw_crawl", work.day))
        ]
        with self.database.writing() as connection:
            connection.execute(faces.insert(), [*rows, {**rows[0], "image_id": "f" * 64, "place": 99}])

    def person(self, name: str, group: str | None = None) -> int:
        invite(self.database, name, key=b"k" * 32, group=group)
        with self.database.reading() as connection:
            return int(connection.scalar(people.select().where(people.c.name == name)) or 0)

    def shown(self, person: int) -> str:
        found = next_assignment(self.database, person, settings=SETTINGS, generator=random.Random(0))
        assert found is not None
        return found.token


@pytest.fixture
def rated(work: Any, picture: Callable[..., bytes]) -> Any:
    for number in range(2):
        (work.folder / f"{number}.png").write_bytes(picture(seed=number))
    work.ratings.write_text("image,annotator,score\n0.png,ann,7\n1.png,ann,5\n")
    about = work.folder.parent / "about.csv"
    about.write_text("image,person\n0.png,X\n1.png,Y\n")
    work.declare(
        work.source(ratings=[RatingsFile(path=str(work.ratings))], pictures=PicturesFile(path=str(about)))
    )
    assert work.materialize(raw_crawl, days=[work.day]).success
    return work


def test_scores_of_the_site_are_one_more_origin(rated: Any, errors: Any, verdicts: Any) -> None:
    site = Annotating(rated)
    ann, ben = site.person("ann", group="north"), site.person("ben")
    for score in (8, 2, 5):
        assert give_score(site.database, ann, site.shown(ann), score) == "kept"
    skip(site.database, ben, site.shown(ben), Skip.NOT_A_FACE, settings=SETTINGS)
    result = rated.materialize(annotations)
    assert result.success, errors(result)
    assert set(verdicts(result).values()) == {True}
    rows = [row for row in rated.rows("annotations") if row["origin"] == "annotation_site:mine"]
    # The third was of a picture that the crawl does not have.
    assert sorted(row["score"] for row in rows) == [2.0, 8.0]
    assert {(row["annotator"], row["annotator_group"]) for row in rows} == {("annotation_site/ann", "north")}
    assert all(row["rated_at"] is not None and "person" in row["attributes"] for row in rows)
    from_file = [row for row in rated.rows("annotations") if not row["origin"].startswith("annotation_site")]
    assert {row["annotator_group"] for row in from_file} == {None}
    record = rated.record("annotations")
    assert rated.store.tables.facts(record.ref)["site"] == {"ratings": 2, "not_stored": 1}


def test_a_new_score_or_one_taken_back_makes_the_table_out_of_date(rated: Any) -> None:
    def current() -> bool:
        return is_current(annotations, WHOLE, store=rated.store)

    assert rated.materialize(annotations).success
    assert current()
    site = Annotating(rated)
    ann = site.person("ann")
    token = site.shown(ann)
    give_score(site.database, ann, token, 8)
    assert not current()
    assert stale_assets(LABELS, store=rated.store)[0] is annotations
    assert rated.materialize(annotations).success
    assert current()
    before = rated.record("annotations").ref
    undo(site.database, ann, settings=SETTINGS)
    assert not current()
    give_score(site.database, ann, token, 3)
    assert rated.materialize(annotations).success
    assert 3.0 in [row["score"] for row in rated.rows("annotations")]
    # The version with the score that was taken back stays readable.
    assert 8.0 in rated.store.tables.read(before).column("score").to_pylist()

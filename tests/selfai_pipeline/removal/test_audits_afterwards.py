"""Audits after a removal: they answer, and tell what it left from what was altered."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.lineage.audit import Audit, audit
from selfai_pipeline.lineage.derived import Selection, derived_from
from selfai_pipeline.lineage.documents import as_page, as_text, audit_document
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.values import audit_values
from selfai_pipeline.lineage.verification import verify
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.sources.fingerprints import crawl_fingerprints
from selfai_pipeline.sources.settings import load_sources
from selfai_pipeline.sources.tombstones import read_tombstones

DAYS = ("2026-01-01", "2026-01-02")
Search = Callable[[Path, Iterable[bytes]], set[str]]


class Killed(BaseException):
    """The process ends here."""


def audit_of_scorer(world: Any) -> Audit:
    scorer = world.current("finetuned_scorer").sha256
    return audit(scorer, archive=world.archive, registry=Registry())


def test_an_audit_of_the_older_model_answers_and_verification_says_redacted(lived_in: Any) -> None:
    world = lived_in.world
    audited = audit_of_scorer(world)
    lived_in.remove("picture", world.image_id(1))
    again = audit_of_scorer(world)
    assert [one.key for one in again.versions] == [one.key for one in audited.versions]
    assert again.problems == ()
    states = {(one.state, one.kind) for one in verify(again, archive=world.archive)}
    redacted = {kind for state, kind in states if state is State.REDACTED}
    assert redacted == {
        *(f"table {asset}" for asset in ("raw_crawl", "pruned_set", "aligned_faces", "annotations")),
        "table balanced_label_table",
    }
    assert {state for state, _ in states} == {State.INTACT, State.REDACTED}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("url", "https://one.example/1.png"),
        ("host", "one.example"),
        ("annotator", "one/carl"),
        ("annotator", "annotation_site/ann"),
    ],
)
def test_what_a_removal_changes_outside_of_the_graph_is_no_change(
    lived_in: Any, kind: str, value: str
) -> None:
    """Imported ratings and the name of their file, ratings of the site, fetches of a live source."""
    world, home = lived_in.world, lived_in.home
    sources = load_sources(home.sources_file)
    for day in DAYS:
        external = crawl_fingerprints(day, sources=sources, home=home)
        world.point(world.current("raw_crawl", day), (), external=external)
    collected = world.collect(sources)
    assert {row["annotator"] for row in world.rows(collected)} >= {"one/carl", "annotation_site/ann"}
    before = list(verify(audit_of_scorer(world), archive=world.archive))
    assert {one.state for one in before} == {State.INTACT}
    lived_in.remove(kind, value)
    after = list(verify(audit_of_scorer(world), archive=world.archive))
    assert {one.state for one in after} == {State.INTACT, State.REDACTED}
    kinds = {"declared files of ratings", "annotation site", "sources.yaml, sources of 2026-01-01"}
    assert {one.kind for one in after} >= kinds, "they are still looked at"


def test_what_is_left_of_a_version_is_told_from_what_was_altered_later(lived_in: Any) -> None:
    world = lived_in.world
    lived_in.remove("picture", world.image_id(1))
    path = lived_in.store.files.local_path(lived_in.store.tables.path(world.current("annotations")))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    again = audit_of_scorer(world)
    amiss = [one for one in verify(again, archive=world.archive) if one.state is State.ALTERED]
    assert [one.path for one in amiss] == [str(path)]


def test_a_table_that_no_removal_put_there_is_no_redacted_one(lived_in: Any) -> None:
    """Scores of somebody's own under their own hash, and a redacted.json that leads to them."""
    world, store = lived_in.world, lived_in.store
    before = world.current("annotations")
    table = store.tables.read(before)
    scores = pa.array([9.0] * table.num_rows)
    forged = table.set_column(table.schema.get_field_index("score"), table.schema.field("score"), scores)
    store.tables.redact(before, forged, store.tables.facts(before))
    found = [one for one in verify(audit_of_scorer(world), archive=world.archive) if one.reason]
    assert [(one.state, one.kind) for one in found] == [(State.ALTERED, "table annotations")]
    assert "no record of a removal says so" in found[0].reason


def test_until_a_removal_is_finished_verification_says_what_to_do(
    lived_in: Any,
) -> None:
    world = lived_in.world
    plan = replace(lived_in.plan("picture", world.image_id(1)), models=())
    plan.write(lived_in.home)

    def ends_behind(step: str) -> None:
        if step == "tables":
            raise Killed

    with pytest.raises(Killed):
        carry_out(plan, store=lived_in.store, told=ends_behind)
    amiss = [one for one in verify(audit_of_scorer(world), archive=world.archive) if one.reason]
    assert {one.kind for one in amiss} >= {"table annotations", "table raw_crawl"}
    assert {one.state for one in amiss} == {State.ALTERED}
    assert all("`selfai remove --resume`" in one.reason for one in amiss)
    carry_out(plan, store=lived_in.store)
    states = {one.state for one in verify(audit_of_scorer(world), archive=world.archive)}
    assert states == {State.INTACT, State.REDACTED}


def test_a_damaged_record_of_a_removal_is_named_and_proves_nothing(lived_in: Any) -> None:
    world, store = lived_in.world, lived_in.store
    lived_in.remove("picture", world.image_id(1))
    (stone,) = read_tombstones(store)
    store.files.write(stone.path, b"{")
    found = list(verify(audit_of_scorer(world), archive=world.archive))
    assert "records of removals" in {one.kind for one in found if one.state is State.ALTERED}
    assert State.REDACTED not in {one.state for one in found}


def test_an_audit_says_what_was_removed_since_of_what_the_model_had_learnt_from(lived_in: Any) -> None:
    world = lived_in.world
    trunk = world.current("siamese_checkpoint")
    lived_in.remove("picture", world.image_id(1))
    (stone,) = read_tombstones(lived_in.store)
    audited = audit("selfai-scorer@1", archive=world.archive, registry=world.registry)
    document = audit_document(audited)
    (registered,) = [one for one in document.sections if one.title == "Registered"]
    assert registered.note.startswith("Removed since: ")
    said = f"that removal {stone.removal} took out on {stone.removed_at[:10]} (1 of train): letter 7"
    assert f"siamese_checkpoint {trunk.sha256[:12]} learnt from pictures {said}" in registered.note
    assert registered.note in as_text(document)
    assert registered.note in as_page(document)
    assert {one["removal"] for one in audit_values(audited)["removed_since"]} == {stone.removal}
    assert "Removed since" in as_text(audit_document(audit_of_scorer(world))), "a checkpoint by its hash"


def test_an_audit_of_a_model_that_learnt_from_nothing_removed_says_nothing(lived_in: Any) -> None:
    """Picture 3 is in the test split."""
    world = lived_in.world
    lived_in.remove("picture", world.image_id(3))
    audited = audit_of_scorer(world)
    assert audited.marks == ()
    assert "Removed since" not in as_text(audit_document(audited))


@pytest.mark.parametrize(
    ("kind", "value", "asked"),
    [
        ("annotator", "site/ann", "site/ann"),
        ("annotator", "site/ann", "ann"),
        ("host", "one.example", "ONE.example"),
    ],
)
def test_an_audit_of_what_was_removed_says_when(lived_in: Any, kind: str, value: str, asked: str) -> None:
    world = lived_in.world
    lived_in.remove(kind, value)
    with pytest.raises(InputError, match=r"it was removed on .*\(letter 7\)"):
        derived_from(Selection(kind, asked), archive=world.archive, registry=world.registry)


def test_a_version_that_came_back_from_a_backup_is_not_read_and_can_be_removed_again(
    lived_in: Any, search: Search
) -> None:
    world, store = lived_in.world, lived_in.store
    before = world.current("annotations")
    path = store.files.local_path(store.tables.path(before))
    content = path.read_bytes()
    gone = [world.image_id(1).encode()]
    lived_in.remove("picture", world.image_id(1))
    path.write_bytes(content)
    assert world.image_id(1) not in {row["image_id"] for row in world.rows(before)}
    assert lived_in.remove("picture", world.image_id(1)) == []
    assert search(lived_in.home.root, gone) == set()

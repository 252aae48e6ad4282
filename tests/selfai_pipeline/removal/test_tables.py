"""Versions without the rows of a removal, and what else of them names what was removed."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfai_pipeline.lineage.versions import Archive, VersionKey
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet
from selfai_pipeline.removal.marks import removed_inputs
from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.removal.tables import redact
from selfai_pipeline.sources.tombstones import INSTEAD
from selfai_pipeline.tables import TableRef
from selfai_pipeline.training.checkpoints import save_checkpoint


def subjects(*image_ids: str) -> Subjects:
    return Subjects(image_ids=frozenset(image_ids))


def test_other_rows_name_it_no_more(lived_in: Any) -> None:
    """As the picture that their cluster is called by."""
    world = lived_in.world
    one, two, three = (world.image_id(number) for number in (1, 2, 3))
    rows = world.rows(world.current("balanced_label_table"))
    world.write(
        [
            {**row, "cluster": one if row["image_id"] in (one, two, three) else row["cluster"], "weight": 0.1}
            for row in rows
        ],
        "balanced_label_table",
        "all",
        (),
    )
    lived_in.remove("picture", one)
    labels = world.rows(world.current("balanced_label_table"))
    clusters = {row["image_id"]: row["cluster"] for row in labels}
    assert clusters[two] == clusters[three] == min(two, three)
    assert abs(sum(row["weight"] for row in labels) - 1) < 1e-12


@pytest.mark.parametrize("keeps_trunks", [False, True])
def test_scores_of_single_faces_go_from_the_ablations_that_stand_on_it(
    lived_in: Any, keeps_trunks: bool
) -> None:
    """Arms that begin at random leave checkpoints under the name of these tables."""
    world = lived_in.world
    if keeps_trunks:
        record = {"input_size": 32, "inputs": {"labels": world.current("balanced_label_table").sha256}}
        network = Network(tiny_darknet(0.1))
        trunk = save_checkpoint(network, asset="ablation_run", record=record, rows=0, store=lived_in.store)
    row = {"arm": "scratch", "predicted": [1.0, 2.0], "scorers": [], "seed": 0}
    ref = lived_in.store.tables.write(
        [
            {
                name: row.get(name, None if field.nullable else ("" if str(field.type) == "string" else 0))
                for name, field in _fields("ablation_run")
            }
        ],
        asset="ablation_run",
    )
    world.point(ref, [world.current("balanced_label_table")])
    told = Archive(lived_in.store).version(VersionKey(ref.asset, ref.partition, ref.sha256))
    assert (told.is_checkpoint, told.problems) == (False, ())
    lived_in.remove("picture", world.image_id(1))
    (left,) = world.rows(world.current("ablation_run"))
    assert left["predicted"] == []
    assert left["arm"] == "scratch"
    if keeps_trunks:
        (mark,) = removed_inputs(lived_in.store, trunk)
        assert mark.sha256 == trunk.sha256, "it was standardised on the picture"


def _fields(asset: str) -> list[tuple[str, pa.Field]]:
    from selfai_pipeline.schemas import TABLES

    return [(field.name, field) for field in TABLES[asset]]


def test_a_version_of_an_earlier_schema_keeps_its_columns(lived_in: Any) -> None:
    store, image_id = lived_in.store, lived_in.world.image_id(1)
    table = pa.table({"image_id": [image_id, "other"], "url": ["https://one.example/1.png", "b"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    import hashlib

    ref = TableRef("raw_crawl", "2026-01-01", hashlib.sha256(content).hexdigest(), 2)
    store.files.write(store.tables.path(ref), content)
    lived_in.remove("picture", image_id)
    assert not store.files.exists(store.tables.path(ref))
    assert store.tables.read(ref).to_pylist() == [{"image_id": "other", "url": "b"}]


def test_facts_name_it_no_more(lived_in: Any) -> None:
    store, world = lived_in.store, lived_in.world
    rows = [{**row, "rated_at": None} for row in world.rows(world.current("annotations"))]
    image_id = world.image_id(1)
    said = {"unavailable": {"one": f"{image_id}, https://one.example/1.png: gone"}, "count": 3}
    ref = store.tables.write(rows, asset="annotations", facts=said)
    key = VersionKey("annotations", "all", ref.sha256)
    redact(key, Subjects(frozenset([image_id]), urls=frozenset(["https://one.example/1.png"])), store=store)
    facts = store.tables.facts(ref)
    assert facts == {"unavailable": {"one": "[removed], [removed]: gone"}, "count": 3, "redacted_rows": 2}


def test_what_is_said_about_other_pictures_names_it_no_more(lived_in: Any, search: Any) -> None:
    """The address of a page in a further column of a list, and a fact of a table without any row of it."""
    world, store = lived_in.world, lived_in.store
    page = "https://one.example/pages/7"
    (row, *rows) = world.rows(world.current("raw_crawl", "2026-01-02"))
    row["attributes"] = json.dumps({"name": "4.png", "page": page})
    world.write([row, *rows], "raw_crawl", "2026-01-02", ())
    ratings = world.rows(world.current("annotations"))
    others = [one for one in ratings if one["image_id"] == row["image_id"]]
    facts = store.tables.write(others, asset="annotations", facts={"unavailable": {"one": f"{page}\n"}})
    lived_in.remove("host", "one.example")
    assert search(lived_in.home.root / "tables", [b"one.example"]) == set()
    (left, *_) = world.rows(world.current("raw_crawl", "2026-01-02"))
    assert left == {**row, "attributes": json.dumps({"name": "4.png", "page": INSTEAD})}
    assert store.tables.read(facts).num_rows == len(others)


def test_what_is_gone_already_is_left_alone(lived_in: Any) -> None:
    key = VersionKey("annotations", "all", "ab" * 32)
    redact(key, subjects("ab" * 32), store=lived_in.store)
    assert lived_in.store.tables.redactions("annotations", "all") == {}

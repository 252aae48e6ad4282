"""One byte altered in any file that a model stands on is found and named."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.verification import verify
from selfai_pipeline.sources.settings import load_sources
from selfai_pipeline.training.checkpoints import folder_of


def amiss(world):
    audited = audit(None, archive=world.archive, registry=world.registry)
    found = list(verify(audited, archive=world.archive))
    return [one for one in found if one.state is not State.INTACT], found


def files_of(world) -> dict[str, Path]:
    """One file of each kind, by what it is."""
    local, tables = world.store.files.local_path, world.store.tables
    found = {
        f"table {asset}": local(tables.path(world.current(asset, partition)))
        for asset, partition in [
            *((asset, "2026-01-01") for asset in ("raw_crawl", "pruned_set", "aligned_faces")),
            *((asset, "all") for asset in ("annotations", "balanced_label_table")),
        ]
    }
    for asset in ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer"):
        folder = local(folder_of(world.current(asset)))
        found[f"weights {asset}"] = folder / "weights.safetensors"
        found[f"record {asset}"] = folder / "record.json"
        found[f"record of the version {asset}"] = next(local(f"tables/{asset}/all/records").iterdir())
    found["pointer"] = local("tables/balanced_label_table/all/current.json")
    (row, *_) = world.rows(world.current("balanced_label_table"))
    found["picture"] = local(world.store.pictures.relative_path(row["image_id"]))
    found["crop"] = local(world.store.crops.relative_path(row["crop_sha256"]))
    found["file of ratings"] = next((world.store.home.imports / "one").iterdir())
    folder = Path(world.registered[0].source.removeprefix("file://"))
    found["registered weights"] = folder / "weights.safetensors"
    found["registered record"] = folder / "record.json"
    found["site"] = world.store.home.own_annotations
    found["sources"] = world.store.home.sources_file
    one, listed = load_sources(world.store.home.sources_file)
    found["list"] = Path(listed.path)
    found["picture of a folder"] = Path(one.path) / "7.png"
    found["declared ratings"] = Path(one.ratings[0].path)
    return found


OUTSIDE = ["site", "sources", "list", "picture of a folder", "declared ratings"]
"""What current versions were made from outside of the graph, where anybody may change it."""

KINDS = [
    *(f"table {asset}" for asset in ("raw_crawl", "pruned_set", "aligned_faces")),
    *("table annotations", "table balanced_label_table"),
    *(
        f"{kind} {asset}"
        for asset in ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer")
        for kind in ("weights", "record", "record of the version")
    ),
    *("pointer", "picture", "crop", "file of ratings", "registered weights", "registered record"),
    *OUTSIDE,
]


def test_nothing_is_amiss_with_what_was_written(whole):
    wrong, found = amiss(whole)
    assert wrong == []
    paths = {one.path for one in found}
    assert {str(path) for path in files_of(whole).values()} <= paths
    assert sorted(files_of(whole)) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_one_altered_byte_is_named(whole, kind):
    path = files_of(whole)[kind]
    if kind == "site":
        # A byte of a database may be one of a free page.
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE annotation_assignments SET score = 4 WHERE score = 3")
    else:
        content, moment = bytearray(path.read_bytes()), path.stat().st_mtime_ns
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
        os.utime(path, ns=(moment, moment))
    wrong, _ = amiss(whole)
    state = State.CHANGED if kind in OUTSIDE else State.ALTERED
    assert (state, str(path)) in {(one.state, one.path) for one in wrong}


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS if not kind.startswith(("record of", "pointer", "file of", "list"))],
)
def test_a_missing_file_is_named(whole, kind):
    path = files_of(whole)[kind]
    path.unlink()
    wrong, _ = amiss(whole)
    assert (State.MISSING, str(path)) in {(one.state, one.path) for one in wrong}


def test_a_pointer_written_by_hand_is_named(whole):
    path = whole.store.files.local_path("tables/annotations/all/current.json")
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "code_version": "9"}))
    wrong, _ = amiss(whole)
    assert [one.path for one in wrong] == [str(path)]


def test_a_record_that_is_gone_is_named_as_it_hides_what_a_version_was_made_from(whole):
    labels = whole.current("balanced_label_table")
    whole.label({1: "test"})
    for path in whole.store.files.local_path("tables/balanced_label_table/all/records").iterdir():
        if json.loads(path.read_bytes())["ref"]["sha256"] == labels.sha256:
            path.unlink()
    wrong, _ = amiss(whole)
    assert [(one.state, one.kind) for one in wrong] == [
        (State.MISSING, f"record of balanced_label_table {labels.sha256[:12]}")
    ]

"""The chain behind a model names exactly what it was made from, past versions and damaged files too."""

import json
from collections import Counter
from pathlib import Path

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.documents import as_page, as_text, audit_document
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.values import audit_values
from selfai_pipeline.lineage.versions import ASSETS
from selfai_pipeline.tables import Record
from selfai_pipeline.training.checkpoints import folder_of

DAYS = ("2026-01-01", "2026-01-02")


def keys_of(audited):
    return {version.key for version in audited.versions}


def test_the_newest_model_is_followed_to_its_sources(world):
    audited = audit(None, archive=world.archive, registry=world.registry)
    assert str(audited.asked) == "selfai-scorer@1 (champion)"
    assert keys_of(audited) == world.upstream(world.current("finetuned_scorer"))
    assert [use.source for use in audited.sources] == ["one", "two"]
    assert [(use.stored, use.days, use.licences) for use in audited.sources] == [(3, 1, ("CC0-1.0",))] * 2
    assert audited.problems == ()
    assets = [version.key.asset for version in audited.versions]
    assert assets == sorted(assets, key=ASSETS.index)


def test_a_picture_counts_once_whatever_addresses_and_sources_it_came_from(world):
    rows = world.rows(world.crawl("2026-01-02", {4: "https://two.example/4.png"}))
    rows += [
        {**rows[0], "url": "https://two.example/copy.png"},
        {**rows[0], "url": "https://two.example/x.png", "image_id": None, "status": "refused"},
        {**rows[0], "url": "https://one.example/4.png", "source": "one"},
    ]
    crawl = world.write(rows, "raw_crawl", "2026-01-02", ())
    audited = audit(crawl.sha256, archive=world.archive, registry=world.registry)
    assert [(use.source, use.stored, use.others) for use in audited.sources] == [("one", 1, 0), ("two", 1, 1)]
    assert audited.pictures == 1


def test_each_version_says_how_it_was_made(world):
    audited = audit("@champion", archive=world.archive, registry=world.registry)
    (scorer,) = [one for one in audited.versions if one.key.asset == "finetuned_scorer"]
    (making,) = scorer.makings
    assert making.settings == {"epochs": 3}
    assert making.code_version == "1"
    assert making.run_id.startswith("run-")
    assert {key.asset for key in making.inputs} == {"widened_checkpoint", "balanced_label_table"}
    assert scorer.is_current


def test_a_past_model_keeps_its_own_inputs(world):
    before = world.upstream(world.current("finetuned_scorer"))
    world.crawl("2026-01-02", {4: "https://two.example/4.png", 7: "https://two.example/7.png"})
    world.prune("2026-01-02")
    world.align("2026-01-02")
    world.rate([(number, "site/ann", 5.0) for number in (1, 2, 3, 4, 7)])
    world.label({})
    world.train_all()
    world.register()
    first = audit("selfai-scorer@1", archive=world.archive, registry=world.registry)
    assert keys_of(first) == before
    second = audit("selfai-scorer", archive=world.archive, registry=world.registry)
    assert second.asked.version == 2
    assert keys_of(second) == world.upstream(world.current("finetuned_scorer"))
    assert not [one for one in first.versions if one.key.partition == "2026-01-02" and one.is_current]


def test_the_same_bytes_made_twice_stand_on_both_ways(world):
    labels, ratings = world.current("balanced_label_table"), world.current("annotations")
    other = world.rate([(1, "site/eve", 1.0)])
    world.point(labels, [other])
    audited = audit(labels.sha256, archive=world.archive, registry=world.registry)
    found = {key.sha256 for key in keys_of(audited) if key.asset == "annotations"}
    assert found == {ratings.sha256, other.sha256}
    assert "made more than once" in as_text(audit_document(audited))


@pytest.mark.parametrize("asset", ["finetuned_scorer", "balanced_label_table", "annotations"])
def test_a_hash_names_a_version_by_its_beginning(world, asset):
    ref = world.current(asset)
    audited = audit(ref.sha256[:12], archive=world.archive, registry=world.registry)
    assert (audited.key.asset, audited.key.sha256) == (asset, ref.sha256)


def test_an_ambiguous_beginning_lists_what_it_could_be(world):
    (shared, several), *_ = Counter(key.sha256[0] for key in world.archive.keys).most_common()
    with pytest.raises(InputError, match=rf"{several} versions begin so: .*Name more characters"):
        world.archive.find(shared)


def test_equal_tables_of_two_days_are_told_apart_by_the_day(world):
    for day in DAYS:
        empty = world.crawl(day, {})
    with pytest.raises(InputError, match="HASH@PARTITION"):
        audit(empty.sha256, archive=world.archive, registry=world.registry)
    audited = audit(f"{empty.sha256}@{DAYS[1]}", archive=world.archive, registry=world.registry)
    assert audited.key.partition == DAYS[1]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("other", "Registered are: selfai-scorer, selfai-scorer@champion\\."),
        ("selfai-scorer@7", r"There are: selfai-scorer@1 \(champion\)"),
        ("@challenger", r"There are: selfai-scorer@1 \(champion\)"),
        ("0123456789ab", "no version of a table or a checkpoint has such a hash"),
    ],
)
def test_an_unknown_name_says_what_there_is(world, named, message):
    with pytest.raises(InputError, match=message):
        audit(named, archive=world.archive, registry=world.registry)


def test_without_a_model_it_says_so(world):
    with pytest.raises(InputError, match="Registered are: none yet"):
        audit(None, archive=world.archive, registry=Registry())


def test_a_missing_file_is_named_and_the_rest_printed(world):
    before = world.upstream(world.current("finetuned_scorer"))
    lost = world.store.files.local_path(world.store.tables.path(world.current("raw_crawl", "2026-01-01")))
    lost.unlink()
    audited = audit(None, archive=world.archive, registry=world.registry)
    assert keys_of(audited) == before
    assert [problem for problem in audited.problems if f"{lost} is missing" in problem]
    assert [use.source for use in audited.sources] == ["two"]


def test_a_damaged_record_is_named_and_the_rest_printed(world):
    folder = world.store.files.local_path("tables/pruned_set/2026-01-01/records")
    (record,) = folder.iterdir()
    record.write_bytes(b"{}")
    audited = audit(None, archive=world.archive, registry=world.registry)
    text = as_text(audit_document(audited))
    assert f"{record}: this is no record of a version" in text
    assert "no record says what it was made from" in text
    assert world.current("raw_crawl", "2026-01-02").sha256 in text


def test_a_checkpoint_without_a_record_of_its_run_still_says_what_it_was_made_from(world):
    ref = world.current("siamese_checkpoint")
    for path in world.store.files.local_path("tables/siamese_checkpoint/all/records").iterdir():
        path.unlink()
    audited = audit(ref.sha256, archive=world.archive, registry=world.registry)
    assert keys_of(audited) == world.upstream(ref)


def test_a_record_that_contradicts_the_checkpoint_itself_is_named(world):
    ref = world.current("siamese_checkpoint")
    world.point(ref, [world.current("annotations")])
    audited = audit(ref.sha256, archive=world.archive, registry=world.registry)
    assert [problem for problem in audited.problems if "names inputs that its own record does not" in problem]


def test_a_registered_checkpoint_that_is_gone_is_named(world):
    ref = world.current("finetuned_scorer")
    for path in world.store.files.local_path(folder_of(ref)).iterdir():
        path.unlink()
    audited = audit(None, archive=world.archive, registry=world.registry)
    assert [problem for problem in audited.problems if "record.json is missing" in problem]
    assert keys_of(audited) == world.upstream(ref)


def test_a_record_that_names_a_file_outside_of_the_store_is_not_followed(world):
    ref = world.current("annotations")
    world.store.tables.point(Record(ref, "1", {}, {"../../etc": {"passwd": "0" * 64}}))
    audited = audit(ref.sha256, archive=world.archive, registry=world.registry)
    assert "../../etc" not in {version.key.asset for version in audited.versions}
    assert [problem for problem in audited.problems if "it names what can be no version" in problem]


def test_the_values_are_json_and_hold_every_input(world):
    audited = audit(None, archive=world.archive, registry=world.registry)
    values = json.loads(json.dumps(audit_values(audited)))
    inputs = {
        (one["asset"], one["partition"], one["sha256"])
        for version in values["versions"]
        for making in version["made"]
        for one in making["inputs"]
    }
    behind = keys_of(audited) - {audited.key}
    assert inputs == {(key.asset, key.partition, key.sha256) for key in behind}


def test_the_page_is_whole_and_escapes_what_comes_from_outside(world):
    ref = world.current("annotations")
    world.point(ref, [], settings={"note": "<script>alert(1)</script>"})
    audited = audit(None, archive=world.archive, registry=world.registry)
    page = as_page(audit_document(audited))
    assert all(version.key.sha256 in page for version in audited.versions)
    assert page.count("<table") == page.count('tabindex="0" aria-label="'), (
        "what scrolls is reached by keyboard"
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page
    assert str(Path.cwd()) not in page

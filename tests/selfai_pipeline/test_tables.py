"""Table versions are named by their bytes, pointers move in one step, and records stay."""

import hashlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.schemas import TABLES
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, Record, Snapshot, TableRef


def prediction(image_id: str, predicted: float) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "face": 0,
        "crop_sha256": "0" * 64,
        "score": 5.0,
        "standard_error": None,
        "predicted": predicted,
        "low": None,
        "high": None,
        "group": None,
    }


def test_a_version_is_named_by_the_sha256_of_its_file(store: Store) -> None:
    ref = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    file = store.files.local_path(store.tables.path(ref))
    assert file.name == f"{hashlib.sha256(file.read_bytes()).hexdigest()}.parquet"


def test_the_same_rows_give_the_same_hash_and_other_rows_another(store: Store) -> None:
    first = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    assert store.tables.write([prediction("a", 4.5)], asset="evaluation_report") == first
    assert store.tables.write([prediction("a", 4.6)], asset="evaluation_report").sha256 != first.sha256


def test_facts_travel_with_the_table_and_count_for_its_hash(store: Store) -> None:
    plain = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    with_facts = store.tables.write([prediction("a", 4.5)], asset="evaluation_report", facts={"pearson": 0.5})
    assert store.tables.facts(with_facts) == {"pearson": 0.5}
    assert store.tables.facts(plain) == {}
    assert plain.sha256 != with_facts.sha256


def test_only_the_wanted_columns_are_read(store: Store) -> None:
    ref = store.tables.write([prediction("a", 4.5), prediction("b", 1.5)], asset="evaluation_report")
    assert store.tables.read(ref, ["predicted"]).to_pylist() == [{"predicted": 4.5}, {"predicted": 1.5}]


def test_a_column_that_the_schema_lacks_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="extra"):
        store.tables.write([{**prediction("a", 1.0), "extra": 1}], asset="evaluation_report")


def test_a_null_in_a_column_that_needs_a_value_is_refused(store: Store) -> None:
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        store.tables.write([{**prediction("a", 1.0), "score": None}], asset="evaluation_report")


def test_a_changed_byte_is_found(store: Store) -> None:
    ref = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    file = store.files.local_path(store.tables.path(ref))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    for use in (store.tables.read, store.tables.facts):
        with pytest.raises(AlteredVersion, match=rf"{ref.sha256}.*Materialize evaluation_report again"):
            use(ref)


def test_writing_a_version_again_heals_its_file(store: Store) -> None:
    ref = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    file = store.files.local_path(store.tables.path(ref))
    content = file.read_bytes()
    for damaged in (b"", content[:-1], content[:-1] + b"x"):
        file.write_bytes(damaged)
        with pytest.raises(AlteredVersion, match="put the file back from a copy"):
            store.tables.read(ref)
        assert store.tables.write([prediction("a", 4.5)], asset="evaluation_report") == ref
        assert store.tables.read(ref).num_rows == 1


def test_columns_come_in_the_order_they_were_asked_for_and_unknown_ones_are_refused(store: Store) -> None:
    ref = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    assert store.tables.read(ref, ["predicted", "image_id"]).column_names == ["predicted", "image_id"]
    with pytest.raises(KeyError, match="nothing"):
        store.tables.read(ref, ["nothing"])


def test_a_version_from_before_a_column_was_there_has_nulls_in_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = TABLES["evaluation_report"]
    with monkeypatch.context() as earlier:
        earlier.setitem(TABLES, "evaluation_report", schema.remove(schema.get_field_index("group")))
        row = prediction("a", 4.5)
        row.pop("group")
        ref = store.tables.write([row], asset="evaluation_report")
    assert store.tables.read(ref, ["group", "image_id"]).to_pylist() == [
        {"group": None, "image_id": row["image_id"]}
    ]


def test_a_version_is_found_by_its_hash_with_its_rows(store: Store) -> None:
    ref = store.tables.write([prediction("a", 4.5), prediction("b", 1.5)], asset="evaluation_report")
    assert store.tables.find("evaluation_report", "all", ref.sha256) == ref
    with pytest.raises(MissingVersion, match="not in the store"):
        store.tables.find("evaluation_report", "all", "0" * 64)
    store.files.local_path(store.tables.path(ref)).write_bytes(b"PAR1")
    with pytest.raises(AlteredVersion, match=ref.sha256):
        store.tables.find("evaluation_report", "all", ref.sha256)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"kind": "TableRef"}', b'{"kind": "Other", "ref": {}}']
)
def test_a_damaged_pointer_or_record_is_named_with_the_mend(store: Store, content: bytes) -> None:
    ref = store.tables.write([], asset="raw_crawl", partition="2026-01-02")
    store.tables.point(Record(ref, code_version="1", settings={}, inputs={}))
    folder = store.files.local_path("tables/raw_crawl/2026-01-02")
    for file in (folder / "current.json", *(folder / "records").iterdir()):
        file.write_bytes(content)
    mend = r"Delete it\. Materialize raw_crawl for 2026-01-02 again"
    with pytest.raises(AlteredVersion, match=rf"current\.json: .*{mend}"):
        store.tables.current("raw_crawl", "2026-01-02")
    with pytest.raises(AlteredVersion, match=rf"records/[0-9a-f]*\.json: .*{mend}"):
        store.tables.records("raw_crawl", "2026-01-02")


@pytest.mark.parametrize("kind", [TableRef, CheckpointRef])
def test_verdicts_of_a_version_are_kept_together_and_the_later_one_counts(
    store: Store, kind: type[TableRef | CheckpointRef]
) -> None:
    one, other = kind("a", "all", "1" * 64, 3), kind("a", "all", "2" * 64, 3)
    assert store.tables.verdicts(one) == {}
    store.tables.judge(one, {"completeness": True, "sanity": False})
    store.tables.judge(one, {"sanity": True, "quality_floor": False})
    assert store.tables.verdicts(one) == {"completeness": True, "sanity": True, "quality_floor": False}
    assert store.tables.verdicts(other) == {}
    assert store.files.exists(f"tables/a/all/verdicts/{'1' * 64}.json")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"sanity": "yes"}'])
def test_damaged_verdicts_are_named_with_the_mend(store: Store, content: bytes) -> None:
    ref = TableRef("raw_crawl", "2026-01-02", "1" * 64, 3)
    store.files.write(f"tables/raw_crawl/2026-01-02/verdicts/{'1' * 64}.json", content)
    with pytest.raises(AlteredVersion, match=r"verdicts/1{64}\.json: .*Delete it\. Materialize raw"):
        store.tables.verdicts(ref)


def test_a_missing_version_says_so(store: Store) -> None:
    with pytest.raises(MissingVersion, match="not in the store"):
        store.tables.read(TableRef("evaluation_report", "all", "0" * 64, 1))


def test_the_pointer_moves_and_older_versions_and_records_stay(store: Store) -> None:
    refs = [store.tables.write([prediction("a", float(n))], asset="evaluation_report") for n in range(3)]
    assert store.tables.current("evaluation_report") is None
    for ref in refs:
        store.tables.point(Record(ref, code_version="1", settings={"n": 1}, inputs={"x": {"all": "h"}}))
    current = store.tables.current("evaluation_report")
    assert current is not None
    assert current.ref == refs[-1]
    assert {record.ref for record in store.tables.records("evaluation_report")} == set(refs)
    assert store.tables.read(refs[0], ["predicted"]).to_pylist() == [{"predicted": 0.0}]


def test_a_record_of_a_checkpoint_reads_back_as_one(store: Store) -> None:
    ref = CheckpointRef("siamese_checkpoint", "all", "1" * 64, 10)
    record = Record(ref, code_version="2", settings={}, inputs={}, external={"sources": "f"}, run_id="r")
    store.tables.point(record)
    assert store.tables.current("siamese_checkpoint") == record


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_names_that_could_leave_the_folder_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        store.tables.current("evaluation_report", name)


def test_a_snapshot_pins_the_partitions_that_exist(store: Store) -> None:
    ref = store.tables.write([], asset="raw_crawl", partition="2026-01-02")
    store.tables.point(Record(ref, code_version="1", settings={}, inputs={}))
    assert store.tables.snapshot("raw_crawl").tables == {"2026-01-02": ref}
    assert store.tables.snapshot("raw_crawl", ["2026-01-01", "2026-01-02"]).tables == {"2026-01-02": ref}
    assert store.tables.read_all(store.tables.snapshot("raw_crawl")).num_rows == 0


partition_hashes = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), min_size=1)


@given(first=partition_hashes, second=partition_hashes)
def test_fingerprints_are_equal_exactly_when_the_versions_are(
    first: dict[str, str], second: dict[str, str]
) -> None:
    def fingerprint(hashes: dict[str, str]) -> str:
        refs = {name: TableRef("raw_crawl", name, sha256, 1) for name, sha256 in hashes.items()}
        return Snapshot(refs).fingerprint

    assert (fingerprint(first) == fingerprint(second)) == (first == second)


def made(store: Store, predicted: float, *, passed: bool) -> TableRef:
    """A version that was made and judged."""
    ref = store.tables.write([prediction("a", predicted)], asset="evaluation_report")
    store.tables.point(Record(ref=ref, code_version="1", settings={}, inputs={}))
    store.tables.judge(ref, dict.fromkeys(("completeness", "sanity", "quality_floor"), passed))
    return ref


def test_the_version_before_is_the_latest_that_passed_its_checks(store: Store) -> None:
    first = made(store, 1.0, passed=True)
    assert store.tables.passed_before(first) is None
    failed = made(store, 2.0, passed=False)
    third = made(store, 3.0, passed=True)
    assert store.tables.passed_before(third) == store.tables.passed_before(failed) == first
    fourth = made(store, 4.0, passed=True)
    assert store.tables.passed_before(fourth) == third
    # Made once more, it comes after the same.
    assert store.tables.passed_before(made(store, 4.0, passed=True)) == third
    # An old version that comes again follows the one that it replaces.
    assert store.tables.passed_before(made(store, 1.0, passed=True)) == fourth


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', '{"a": "a"}', '{"a": "b", "b": "c", "c": "a"}'])
def test_what_does_not_say_what_removals_have_rewritten_is_named(store: Store, content: str) -> None:
    """One that leads round in a circle would never end."""
    ref = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    folder = store.tables.folder(ref.asset, ref.partition)
    store.files.write(f"{folder}/redacted.json", content.encode())
    with pytest.raises(AlteredVersion, match=r"redacted\.json: this does not say what removals"):
        store.tables.read(ref)

"""Table versions are named by their bytes, pointers move in one step, and records stay."""

import hashlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfai_pipeline.errors import AlteredVersion, MissingVersion
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
        "group": None,
    }


def test_a_version_is_named_by_the_sha256_of_its_file(store: Store) -> None:
    ref = store.tables.write([prediction("a", 4.5)], asset="evaluation_report")
    file = store.files.local_path(store.tables.path(ref))
    assert file.name == f"{hashlib.sha256(file.read_bytes()).hexdigest()}.parquet"
    store.tables.verify(ref)


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
    with pytest.raises(AlteredVersion, match=ref.sha256):
        store.tables.verify(ref)


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

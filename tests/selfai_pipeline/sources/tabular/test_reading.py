"""Tables in every format: the same rows come out, and bad ones are left out with their line and reason."""

import csv
import datetime
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.tabular import parquet_rows
from selfai_pipeline.sources.tabular.reading import read_rows, unit_of
from selfai_pipeline.sources.tabular.rows import LONGEST_LINE, MENDS, MOST_COLUMNS

COLUMNS = ("url", "date", "licence")
Row = tuple[int, tuple[Any, ...], dict[str, Any]]


def read(path: Path, columns: Sequence[str] = COLUMNS) -> tuple[list[Row], list[tuple[int, str]]]:
    """The rows of a table, and (line, reason) of those that are left out."""
    left_out: list[tuple[int, str]] = []

    def report(line: int, reason: str, detail: str) -> None:
        assert reason in MENDS
        assert detail.startswith("it ")
        left_out.append((line, reason))

    setting = "its setting"
    rows = [
        (row.line, row.cells, row.extra())
        for row in read_rows(path, columns, name=str(path), report=report, setting=setting)
    ]
    return rows, left_out


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


EXPECTED: list[Row] = [
    (2, ("http://x.org/a.jpg", "2026-01-01", "CC0"), {"alt": 'an "ä", b'}),
    (3, ("http://x.org/b.jpg", "", ""), {"alt": ""}),
]
CSV = 'alt,url,date,licence\n"an ""ä"", b",http://x.org/a.jpg,2026-01-01,CC0\n,http://x.org/b.jpg,,\n'


@pytest.mark.parametrize(
    "content",
    [CSV, f"\ufeff{CSV}", CSV.replace("\n", "\r\n"), CSV.rstrip("\n")],
    ids=["plain", "byte-order mark", "Windows line ends", "no end of the last line"],
)
def test_a_csv(tmp_path: Path, content: str) -> None:
    assert read(written(tmp_path / "list.csv", content)) == (EXPECTED, [])
    packed = written(tmp_path / "list.csv.gz", gzip.compress(content.encode()))
    assert read(packed) == (EXPECTED, [])


def test_a_row_of_a_csv_may_have_lines_in_quotes_and_its_line_is_the_first(tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", 'url,alt\n\nhttp://x.org/a,"one\ntwo"\nhttp://x.org/b,\n')
    rows, left_out = read(path, ["url"])
    assert [(row[0], row[2]) for row in rows] == [(3, {"alt": "one\ntwo"}), (5, {"alt": ""})]
    assert left_out == []


def test_json_lines_keep_what_json_has(tmp_path: Path) -> None:
    rows = [{"url": "http://x.org/a", "n": 1, "tags": ["a", None]}, {"url": "http://x.org/b", "date": "d"}]
    path = written(tmp_path / "list.jsonl", "\n".join(map(json.dumps, rows)))
    assert read(path, ["url", "date"]) == (
        [
            (1, ("http://x.org/a", None), {"n": 1, "tags": ["a", None]}),
            (2, ("http://x.org/b", "d"), {}),
        ],
        [],
    )


def test_parquet_keeps_its_types_and_leaves_bytes_out(tmp_path: Path) -> None:
    far = pa.array([10**15, 0], pa.timestamp("ms"))
    pictures = [{"bytes": b"a", "path": "p"}, None]
    table = pa.table(
        {"url": ["http://x.org/a", None], "n": [1, 2], "raw": [b"a", b"b"], "picture": pictures, "far": far}
    )
    pq.write_table(table, tmp_path / "list.parquet")
    rows, left_out = read(tmp_path / "list.parquet", ["url"])
    epoch = datetime.datetime(1970, 1, 1)
    assert rows == [
        (1, ("http://x.org/a",), {"n": 1}),
        (2, (None,), {"n": 2, "far": epoch}),
    ]
    assert left_out == []


ROW = "http://x.org/a.jpg,2026-01-01,CC0"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (f"{ROW},one too many".encode(), "cells"),
        (b"one too few", "cells"),
        (b"http://x.org/\xff.jpg,,", "not_utf8"),
        (b"http://x.org/\0.jpg,,", "null_character"),
        (b"http://x.org/" + b"a" * 10_000_000 + b".jpg,,", "line_too_long"),
        (b"http://x.org/a\rb.jpg,,", "not_csv"),
        (b'"http://x.org/a"b.jpg,,', "not_csv"),
    ],
    ids=[
        "too many cells",
        "too few cells",
        "bad UTF-8",
        "null character",
        "10 MB",
        "bare carriage return",
        "text after a quote",
    ],
)
def test_a_bad_row_of_a_csv_costs_itself_only(tmp_path: Path, bad: bytes, reason: str) -> None:
    lines = [b"url,date,licence", ROW.encode(), bad, ROW.encode()]
    rows, left_out = read(written(tmp_path / "list.csv", b"\n".join(lines)))
    assert [row[0] for row in rows] == [2, 4]
    assert left_out == [(3, reason)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"url": "http://x.org/a"', "not_json"),
        (b'["http://x.org/a"]', "not_json"),
        (b'{"url": "a", "n": NaN}', "not_json"),
        (b"[" * 90_000, "not_json"),
        (b'{"n": ' + b"9" * 9000 + b"}", "not_json"),
        (b'{"url": "\xff"}', "not_utf8"),
        (b'{"url": "\0"}', "null_character"),
        (b'{"url": "' + b"a" * 10_000_000 + b'"}', "line_too_long"),
        (json.dumps(dict.fromkeys(map(str, range(MOST_COLUMNS + 1)))).encode(), "too_many_columns"),
        (b'{"url": "a", "url": "b"}', "repeated_key"),
        (b'{"url": "a", "size": {"w": 1, "w": 2}}', "repeated_key"),
    ],
    ids=[
        "cut",
        "a list",
        "no number",
        "deep",
        "digits",
        "bad UTF-8",
        "null character",
        "10 MB",
        "columns",
        "a key twice",
        "a key twice inside",
    ],
)
def test_a_bad_row_of_json_lines_costs_itself_only(tmp_path: Path, bad: bytes, reason: str) -> None:
    good = b'{"url": "http://x.org/a"}'
    rows, left_out = read(written(tmp_path / "list.jsonl", b"\n".join([good, bad, b"", good])), ["url"])
    assert [row[0] for row in rows] == [1, 4]
    assert left_out == [(2, reason)]


MANY = ",".join(f"c{number}" for number in range(MOST_COLUMNS))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("list.csv", "", "list.csv: the file is empty. Fill it"),
        ("list.parquet", "", "list.parquet: the file is empty. Fill it"),
        (
            "list.csv",
            "link,date\n",
            "line 1: there is no column 'url'; it has 'link', 'date'. Name the right",
        ),
        ("list.csv", "url;date;licence\n", "It is separated by semicolons: save it with commas."),
        ("list.csv", "url,date,licence,url\n", "line 1: two columns are called 'url'. Give each"),
        ("list.csv", f"url,date,licence,{MANY}\n", "line 1: it has 203 columns, where 200 are the most"),
        ("list.csv", b"\xff\xfeu\0r\0l\0", "line 1: it is no header of a CSV in UTF-8"),
        ("list.csv", "a" * 200_000, "line 1: it is no header of a CSV in UTF-8 (line_too_long). Save"),
        (
            "list.csv",
            f'url,date,licence\n{ROW}\n"http://x.org,,\n' + f"{ROW}\n" * 4000,
            "line 3: a quote that opens in this row is not closed within 100000 bytes. Close it",
        ),
        (
            "list.csv",
            f'url,date,licence\n{ROW}\n"http://x.org,,\n{ROW}\n',
            "line 3: a quote that opens in this row is not closed. Close it",
        ),
        ("list.json", "[]]", "list.json, line 1: something follows the list"),
        ("list.json", "", "list.json: the file is empty"),
        (
            "list.json",
            '{"url": "a"}\n',
            "line 1: it does not begin with [, as a list in JSON does. Save",
        ),
        ("list.json", '[\n{"url": "a"},\n{"url": ]', "line 3: it is no JSON (Expecting value)"),
        ("list.json", '[\n{"url": "a"}\n{}]', "line 3: it is no list in JSON: a comma or ] is missing"),
        ("list.json", '[{"url": "a"},', "line 1: it is no JSON (Expecting value)"),
        (
            "list.json",
            "[\n" + "[" * 200_000,
            "line 2: item 1, which begins here, is no JSON (it is nested",
        ),
        (
            "list.json",
            '[{"n": NaN}]',
            "item 1, which begins here, is no JSON (it has NaN, where null may stand)",
        ),
        ("list.json", b'[\n{"url": "\xff"}]', "line 2: it is not UTF-8. Save it in UTF-8."),
        ("list.json", '[\n{"link": "a", "date": "", "licence": ""}]', "item 1: no row has 'url'; the first"),
        (
            "list.txt",
            "url\n",
            "list.txt: its name does not tell its format. Give it the ending",
        ),
        ("list.xlsx", b"PK", "list.xlsx: its name does not tell its format"),
        ("list.parquet", "url,date,licence\n", "list.parquet: it is no Parquet file that can be read"),
        (
            "list.jsonl",
            '\n{"link": "a", "date": "", "licence": ""}\n',
            "line 2: no row has 'url'; the first has",
        ),
        ("list.csv.gz", "url\n", "list.csv.gz: it is no whole gzip file"),
        ("list.jsonl.gz", gzip.compress(b"{}\n" * 9)[:-9], "list.jsonl.gz: it is no whole gzip file"),
        ("list.parquet", "PAR1 and no more", "list.parquet: it is no Parquet file that can be read"),
    ],
)
def test_a_list_that_cannot_be_used_says_where_and_what_to_do(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert says in str(caught.value)


def test_a_parquet_file_that_breaks_off_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"link": ["http://x.org/a"] * 1000}), path)
    with pytest.raises(InputError, match="there is no column 'url'; it has 'link'"):
        read(path)
    content = bytearray(path.read_bytes())
    content[10:60] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(InputError, match="no Parquet file that can be read"):
        read(path, ["link"])


def test_a_json_array_is_read_item_by_item_and_bad_items_cost_themselves_only(tmp_path: Path) -> None:
    items = '\ufeff[ {"url": "a", "n": [1]} ,\n 3, {"url": "b", "url": "c"}, {"n": {}}]\n'
    rows, left_out = read(written(tmp_path / "list.json", items), ["url"])
    assert rows == [(1, ("a",), {"n": [1]}), (4, (None,), {"n": {}})]
    assert left_out == [(2, "not_json"), (3, "repeated_key")]
    assert [unit_of(f"list.{ending}") for ending in ("json", "parquet", "csv.gz", "JSONL")] == [
        "item",
        "row",
        "line",
        "line",
    ]


def test_an_item_of_a_json_array_has_a_size_up_to_which_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfai_pipeline.sources.tabular.json_rows.LONGEST_ITEM", 13)
    monkeypatch.setattr("selfai_pipeline.sources.tabular.json_text.READ_AT_ONCE", 1)
    with pytest.raises(InputError, match=r"line 2: item 2, which begins here, is none, or longer than 13"):
        read(
            written(tmp_path / "list.json", '[{"url": "a"},\n{"url": "aaaaaaaaaaaaaaaaaaaaaaaaaaa"}]'),
            ["url"],
        )


@given(
    items=st.lists(
        st.one_of(
            st.dictionaries(st.sampled_from(["url", "n"]), st.one_of(st.text(), st.floats(-1e9, 1e9))),
            st.integers(),
            st.sampled_from(["", "\\", '"', "\U0001f600", None, True, [], [{"a": [1.5e3]}]]),
        )
    ),
    is_ascii=st.booleans(),
    indent=st.sampled_from([None, 1]),
    at_once=st.integers(1, 12),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_json_array_is_the_same_wherever_reading_breaks_off(
    tmp_path: Path, items: list[object], is_ascii: bool, indent: int | None, at_once: int
) -> None:
    path = written(tmp_path / "list.json", json.dumps(items, ensure_ascii=is_ascii, indent=indent) + "\n")
    objects = [(place, one) for place, one in enumerate(items, 1) if isinstance(one, dict)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("selfai_pipeline.sources.tabular.json_text.READ_AT_ONCE", at_once)
        rows, left_out = read(path, [])
    assert [(line, extra) for line, _, extra in rows] == objects
    assert [line for line, _ in left_out] == [
        place for place, one in enumerate(items, 1) if not isinstance(one, dict)
    ]


@pytest.mark.parametrize("at_once", [1, 3, 1 << 20])
def test_the_line_of_a_mistake_in_a_json_array_is_told_wherever_reading_breaks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("selfai_pipeline.sources.tabular.json_text.READ_AT_ONCE", at_once)
    mistakes = {
        b'[\n{"url": "a"},\n\n {"url":\n ]': "line 5: it is no JSON (Expecting value)",
        b'[\n{"url": "a"}\n\n{}]': "line 4: it is no list in JSON",
        b'[\n{"url":\n"\xff"}]': "line 3: it is not UTF-8",
        b'[\n{"url": "a"}]\n\n x': "line 4: something follows the list",
        b'[\n\n{"url": "\xc3': "line 3: it is not UTF-8",
    }
    for content, says in mistakes.items():
        with pytest.raises(InputError) as caught:
            read(written(tmp_path / "list.json", content), ["url"])
        assert says in str(caught.value)


def test_a_parquet_file_that_claims_more_than_memory_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some kilobytes: one long text a dictionary holds once, and every row names."""
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"url": ["a" * 10_000] * 2_000}), path)
    assert path.stat().st_size < 50_000
    monkeypatch.setattr("selfai_pipeline.sources.tabular.parquet_rows.LARGEST_BATCH", 10_000_000)
    with pytest.raises(InputError, match="row 1: 2000 of its rows have more than 10000000 bytes"):
        read(path, ["url"])


def test_a_long_text_that_every_row_names_is_never_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out, the rows would take 1.4 GB; as they are read, Arrow takes a hundredth."""
    path = tmp_path / "list.parquet"
    once = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), pa.array(["a" * 1_400_000]))
    pq.write_table(pa.table({"url": once}), path, store_schema=False)
    taken = []
    true = parquet_rows._bytes_written_out
    monkeypatch.setattr(
        parquet_rows,
        "_bytes_written_out",
        lambda column: taken.append(pa.total_allocated_bytes()) or true(column),
    )
    with pytest.raises(InputError, match="row 1: 1000 of its rows"):
        read(path, ["url"])
    assert 1_400_000 <= max(taken) < 14_000_000


def test_a_text_of_parquet_that_is_no_utf8_is_told_by_half_characters(tmp_path: Path) -> None:
    """So that whoever reads the row leaves it out, and no other."""
    broken = pa.array([b"\xffa", b"b"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"url": broken, "alt": broken}), tmp_path / "list.parquet")
    rows, left_out = read(tmp_path / "list.parquet", ["url"])
    assert rows == [(1, ("\udcffa",), {"alt": "\udcffa"}), (2, ("b",), {"alt": "b"})]
    assert left_out == []


def test_a_row_that_a_stray_quote_makes_of_several_lines_says_which(tmp_path: Path) -> None:
    details = []
    path = written(tmp_path / "list.csv", f'url,date,licence\n{ROW}\n"a,,\n{ROW}\nb,",\n{ROW}\n')
    rows = read_rows(path, COLUMNS, name="list.csv", report=lambda *bad: details.append(bad))
    assert [row.line for row in rows] == [2, 6]
    assert details == [(3, "cells", "it has 2 cells where the header has 3 (lines 3 to 5)")]


def test_an_object_of_many_keys_is_searched_for_repeated_ones_in_no_time(tmp_path: Path) -> None:
    """Comparing each key with all others would take hours."""
    keys = ",".join(f'"{number}":0' for number in range(300_000))
    path = written(tmp_path / "list.json", f'[{{{keys},"299999":1}}]')
    assert read(path, ["url"]) == ([], [(1, "repeated_key")])


def test_numbers_of_four_bytes_are_those_that_were_meant(tmp_path: Path) -> None:
    narrow = pa.array([3.1, None, float("inf")], pa.float32())
    pq.write_table(pa.table({"url": ["a", "b", "c"], "n": narrow}), tmp_path / "list.parquet")
    rows, _ = read(tmp_path / "list.parquet", ["url"])
    assert [row[2] for row in rows] == [{"n": 3.1}, {"n": None}, {"n": float("inf")}]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read(tmp_path / "missing.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="it is no file"):
        read(tmp_path / "folder.csv")


def test_a_line_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfai_pipeline.sources.tabular.lines.LONGEST_SKIPPED", 2_000_000)
    path = written(tmp_path / "list.csv.gz", gzip.compress(b"url,date,licence\n" + bytes(5_000_000)))
    with pytest.raises(InputError, match="line 2: the line does not end within 2000000 bytes"):
        read(path)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    table=st.lists(
        st.tuples(
            TEXT.filter(lambda url: url.strip("\r\n")), st.sampled_from(["", "2026-01-01"]), TEXT, TEXT
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_three_formats_say_the_same(tmp_path: Path, table: list[tuple[str, str, str, str]]) -> None:
    names = ["url", "date", "licence", "alt"]
    rows = [dict(zip(names, row, strict=True)) for row in table]
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, names, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    lists = [
        written(tmp_path / "list.csv", sink.getvalue()),
        written(tmp_path / "list.jsonl", "\n".join(json.dumps(row) for row in rows)),
        tmp_path / "list.parquet",
    ]
    pq.write_table(pa.Table.from_pylist(rows), lists[2])
    expected = [(row["url"], row["date"], row["licence"], {"alt": row["alt"]}) for row in rows]
    for path in lists:
        read_again, left_out = read(path)
        assert [row[1] + (row[2],) for row in read_again] == expected, path.name
        assert left_out == []


SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    ".csv": lambda noise: b"url,date,licence\n" + noise,
    ".jsonl": lambda noise: noise.replace(b"@", b'{"url": "a", "date": "b", "licence": "c"}'),
}


@pytest.mark.parametrize("ending", sorted(SPOILERS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(noise=st.lists(st.sampled_from(list(b'@,"\r\n\0\xff{}[]:ab ')), min_size=1, max_size=60).map(bytes))
def test_noise_is_rows_or_reasons_and_never_a_crash(tmp_path: Path, ending: str, noise: bytes) -> None:
    path = written(tmp_path / f"list{ending}", SPOILERS[ending](noise))
    try:
        rows, left_out = read(path)
    except InputError:
        return
    lines = [row[0] for row in rows] + [line for line, _ in left_out]
    assert len(set(lines)) == len(lines), "a row is told once"
    assert all(0 < line <= path.read_bytes().count(b"\n") + 1 for line in lines)


def test_memory_is_that_of_a_line(tmp_path: Path) -> None:
    """A list of 40 MB, three quarters of it one line, is read with far less."""
    content = b"url\n" + b"http://x.org/a.jpg\n" * 500_000 + b"x" * 30_000_000 + b"\n"
    path = written(tmp_path / "list.csv", content)
    del content
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_rows(path, ["url"], name="list.csv", report=lambda *_: None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 500_000
    assert peak < 20 * LONGEST_LINE + 3_000_000


def test_memory_is_that_of_an_item(tmp_path: Path) -> None:
    """A JSON array of 24 MB, whose letters take four bytes each in memory, is read with less."""
    path = tmp_path / "list.json"
    item = '{"url": "' + "\U0001f600" * 300 + '"}'
    path.write_text("[" + ",\n".join([item] * 20_000) + "]", encoding="utf-8")
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_rows(path, ["url"], name="list.json", report=lambda *_: None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 14_000_000

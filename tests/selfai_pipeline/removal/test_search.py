"""The last look finds what was removed in a list of the user's, whatever its format."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfai_pipeline.removal.plan import Plan
from selfai_pipeline.removal.search import traces
from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.sources.settings import UrlListSource, save_sources
from selfai_pipeline.store import Store

URL = "https://one.example/1.png"
URLS = [f"https://two.example/{number}.png" for number in range(3)]


def text(path: Path, urls: list[str]) -> None:
    path.write_text("\n".join(["url", *urls]))


def packed(path: Path, urls: list[str]) -> None:
    # In two parts, as tools that add to a file leave it.
    path.write_bytes(gzip.compress(b"url\n") + gzip.compress("\n".join(urls).encode()))


def half_packed(path: Path, urls: list[str]) -> None:
    path.write_bytes(gzip.compress("\n".join([*urls, "x"] * 9).encode())[:-9])


def parquet(*kinds: pa.DataType) -> Callable[[Path, list[str]], None]:
    def write(path: Path, urls: list[str]) -> None:
        array = pa.array(urls, pa.string())
        for kind in kinds:
            array = array.cast(kind)
        pq.write_table(pa.table({"url": array, "n": pa.array(range(len(urls)))}), path)

    return write


def nested(path: Path, urls: list[str]) -> None:
    pq.write_table(pa.table({"url": ["x"], "told": [{"in": urls}]}), path)


def no_utf8(path: Path, urls: list[str]) -> None:
    # Such a text can be written, and is read when it is asked for.
    bad = pa.array([b"\xff", *(url.encode() for url in urls)]).cast(pa.binary())
    texts = pa.StringArray.from_buffers(len(bad), bad.buffers()[1], bad.buffers()[2])
    pq.write_table(pa.table({"url": texts}), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("list.csv", text),
        ("list.csv.gz", packed),
        ("list.jsonl.gz", half_packed),
        ("list.parquet", parquet(pa.string())),
        ("list.parquet", parquet(pa.large_string())),
        ("list.parquet", parquet(pa.dictionary(pa.int32(), pa.string()))),
        ("list.parquet", parquet(pa.large_string(), pa.dictionary(pa.int32(), pa.large_string()))),
        ("list.parquet", nested),
        ("list.parquet", no_utf8),
    ],
)
def test_a_list_that_names_it_is_told_whatever_its_format(
    store: Store, tmp_path: Path, name: str, write: Callable[..., Any]
) -> None:
    path = tmp_path / "lists" / name
    path.parent.mkdir()
    save_sources(store.home.sources_file, [UrlListSource(name="listed", path=str(path))])
    named = Plan("", "", "", "url", Subjects(urls=frozenset([URL])))
    host = Plan("", "", "", "host", Subjects(hosts=frozenset(["one.example"])))
    write(path, [*URLS, URL])
    assert traces(named, store) == traces(host, store) == [str(path)]
    write(path, URLS)
    assert traces(named, store) == traces(host, store) == []

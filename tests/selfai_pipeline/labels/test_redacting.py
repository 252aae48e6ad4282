"""Rows taken out of files of ratings, whatever the format; the others stay as they are."""

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.redacting import Unwanted, unwanted_lines, without_lines
from selfai_pipeline.labels.text_table import read_table
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile

ROWS = [
    {"image": "1.jpg", "annotator": "ann", "score": 1, "note": "a"},
    {"image": "2.jpg", "annotator": "ann", "score": 2, "note": "two\nlines, quoted"},
    {"image": "1.jpg", "annotator": "bob", "score": 3, "note": "b"},
    {"image": "3.jpg", "annotator": "bob", "score": 4, "note": "c"},
]
PICTURE_2 = Unwanted(is_picture=lambda name: name == "2.jpg")
BOB = Unwanted(is_annotator=lambda name: name == "bob")


def written(folder: Path, ending: str) -> Path:
    path = folder / f"ratings{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif ending == ".json":
        path.write_text(json.dumps(ROWS))
    else:
        if ending.startswith(".jsonl"):
            text = "".join(json.dumps(row) + "\n" for row in ROWS)
        else:
            text = '\ufeffimage,annotator,score,note\r\n1.jpg,ann,1,a\r\n2.jpg,ann,2,"two\nlines, quoted"\r\n'
            text += "\r\n1.jpg,bob,3,b\r\n3.jpg,bob,4,c\r\n"
        path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    return path


def rows_in(path: Path, content: bytes) -> list[tuple[str, str]]:
    left = path.with_name(f"left-{path.name}")
    left.write_bytes(content)
    table = read_table(left)
    return list(zip(table.columns["image"], table.columns["annotator"], strict=True))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".parquet"])
def test_rows_about_a_picture_or_by_an_annotator_go_and_the_others_stay(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, ending)
    file = RatingsFile(path=str(path))
    lines = unwanted_lines(path, file, PICTURE_2)
    left = rows_in(path, without_lines(path, lines, file, PICTURE_2))
    assert left == [("1.jpg", "ann"), ("1.jpg", "bob"), ("3.jpg", "bob")]
    lines = unwanted_lines(path, file, BOB)
    left = rows_in(path, without_lines(path, lines, file, BOB))
    assert left == [("1.jpg", "ann"), ("2.jpg", "ann")]
    assert not unwanted_lines(path, file, Unwanted())


def test_of_a_csv_every_other_byte_stays(tmp_path: Path) -> None:
    path = written(tmp_path, ".csv")
    file = RatingsFile(path=str(path))
    left = without_lines(path, unwanted_lines(path, file, PICTURE_2), file, PICTURE_2)
    gone = b'2.jpg,ann,2,"two\nlines, quoted"\r\n\r\n'
    assert left == path.read_bytes().replace(gone, b"")


SCRUBBED = Unwanted(scrubbed=lambda text: text.replace("https://gone.example/1", "[removed]"))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".parquet"])
def test_what_a_further_cell_names_is_taken_out_of_it_and_the_row_stays(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"ratings{ending}"
    rows = [
        {"image": "1.jpg", "annotator": "ann", "score": 1, "page": 'at https://gone.example/1, "she" said'},
        {"image": "https://gone.example/1", "annotator": "bob", "score": 2, "page": "two\nlines"},
    ]
    if ending == ".parquet":
        text = pa.dictionary(pa.int32(), pa.large_string())
        told = pa.array([["https://gone.example/1", None], []], pa.list_(pa.string()))
        table = pa.Table.from_pylist(rows).append_column("told", told)
        pq.write_table(table.set_column(3, "page", table["page"].cast(text)), path)
    elif ending == ".json":
        path.write_text(json.dumps([{**row, "told": {"in": [row["page"]]}} for row in rows]))
    else:
        if ending.startswith(".jsonl"):
            content = "\ufeff" + "".join(json.dumps(row) + "\r\n" for row in rows)
        else:
            content = '\ufeff\r\n image,annotator,score, page\r\n1.jpg,ann,1,"at https://gone.example/1, '
            content += '""she"" said"\r\nhttps://gone.example/1,bob,2,"two\nlines"'
        path.write_bytes(gzip.compress(content.encode()) if ending.endswith(".gz") else content.encode())
    file = RatingsFile(path=str(path))
    before = read_table(path)
    lines = unwanted_lines(path, file, SCRUBBED)
    assert (lines.gone, lines.named) == ([], [before.lines[0]])
    path.write_bytes(without_lines(path, lines, file, SCRUBBED))
    after = read_table(path)
    wanted = {
        name: cells
        if name == "image"
        else [cell.replace("https://gone.example/1", "[removed]") for cell in cells]
        for name, cells in before.columns.items()
    }
    assert wanted != before.columns
    assert after.columns == wanted
    assert (after.lines, after.misfits) == (before.lines, [])
    assert not unwanted_lines(path, file, SCRUBBED)


def test_what_a_task_of_label_studio_names_is_taken_out_of_its_data(tmp_path: Path) -> None:
    path = label_studio(tmp_path)
    tasks = json.loads(path.read_text())
    tasks[1]["data"].update(page="https://gone.example/1")
    tasks[1]["annotations"][0]["completed_by"] = {"id": 7, "email": "https://gone.example/1"}
    path.write_text(json.dumps(tasks))
    file = RatingsFile(path=str(path))
    lines = unwanted_lines(path, file, SCRUBBED)
    assert (lines.gone, lines.named) == ([], [2])
    tasks[1]["data"].update(page="[removed]")
    assert json.loads(without_lines(path, lines, file, SCRUBBED)) == tasks


def test_a_row_that_is_none_goes_along_since_nothing_tells_whom_it_names(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("image,annotator,score\n1.jpg,ann,1\n2.jpg;ann;2\n2.jpg,ann,2\n")
    file = RatingsFile(path=str(path))
    assert unwanted_lines(path, file, PICTURE_2).gone == [3, 4]
    assert not unwanted_lines(path, file, Unwanted(is_picture=lambda name: name == "9.jpg"))


def test_a_person_is_told_by_the_column_of_persons(tmp_path: Path) -> None:
    path = tmp_path / "pictures.csv"
    path.write_text("image,person\n1.jpg,p1\n2.jpg,p2\n9.jpg,p1\n")
    unwanted = Unwanted(persons=frozenset(["p1"]), person_column="person")
    file = PicturesFile(path=str(path))
    lines = unwanted_lines(path, file, unwanted)
    assert without_lines(path, lines, file, unwanted) == b"image,person\n2.jpg,p2\n"


def label_studio(folder: Path) -> Path:
    def annotation(number: int, who: int) -> dict[str, object]:
        result = [{"type": "rating", "from_name": "score", "value": {"rating": 3}}]
        return {"id": number, "completed_by": who, "result": result}

    tasks = [
        {"data": {"image": "1.jpg"}, "annotations": [annotation(1, 7), annotation(2, 8)]},
        {"data": {"image": "2.jpg"}, "annotations": [annotation(3, 7)]},
    ]
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def test_of_a_task_of_label_studio_the_annotations_of_one_annotator_go(tmp_path: Path) -> None:
    path = label_studio(tmp_path)
    file = RatingsFile(path=str(path))
    seven = Unwanted(is_annotator=lambda name: name == "7")
    left = json.loads(without_lines(path, unwanted_lines(path, file, seven), file, seven))
    assert [[one["id"] for one in task["annotations"]] for task in left] == [[2], []]
    lines = unwanted_lines(path, file, PICTURE_2)
    left = json.loads(without_lines(path, lines, file, PICTURE_2))
    assert [task["data"]["image"] for task in left] == ["1.jpg"]


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ratings.json"
    path.write_bytes(io.BytesIO(b"[{").getvalue())
    with pytest.raises(InputError, match="it is no JSON"):
        unwanted_lines(path, RatingsFile(path=str(path)), PICTURE_2)

"""A folder of rated pictures becomes a source, or nothing changes at all."""

import os
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.importing import ImportSummary, import_folder
from selfai_pipeline.labels.ratings_file import read_ratings
from selfai_pipeline.sources.settings import FolderSource, PagesSource, load_sources, save_sources

RATINGS = "image,annotator,score\n1.jpg,ann,1\n1.jpg,bob,7\n2.jpg,ann,4\n"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("1.jpg", "2.jpg", "inner/3.PNG", ".hidden/4.jpg", "notes.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"bytes")
    return folder


def bring_in(
    photos: Path,
    home: Home,
    *,
    file: str = "ratings",
    content: str = RATINGS,
    ending: str = ".csv",
    **options: Any,
) -> ImportSummary:
    path = photos.parent / f"{file}{ending}"
    path.write_text(content)
    scale = {"minimum": 1, "maximum": 7} if file == "ratings" else {"minimum": 1, "maximum": 5}
    named = {"name": "faces", "day": "2026-02-01", **scale, **options}
    return import_folder(photos, home=home, **{file: path}, **named)


def everything_in(home: Home) -> dict[str, bytes]:
    files = [path for path in sorted(home.root.rglob("*")) if path.is_file() and path.suffix != ".lock"]
    return {str(path): path.read_bytes() for path in files}


def test_an_import_declares_a_source_with_its_own_copy_of_the_ratings(photos: Path, home: Home) -> None:
    summary = bring_in(photos, home, licence="CC-BY 4.0")
    assert (summary.pictures, summary.rated, summary.unrated) == (3, 2, 1)
    assert (summary.ratings, summary.means, summary.annotators) == (3, 0, 2)
    assert (summary.lowest, summary.highest, summary.replaced) == (1, 7, False)
    assert str(summary).startswith("faces: 3 pictures, 2 of them rated, 1 not; 3 ratings by 2 annotators")
    (source,) = load_sources(home.sources_file)
    assert isinstance(source, FolderSource)
    assert (source.folder(home), source.day, source.licence) == (photos, "2026-02-01", "CC-BY 4.0")
    (file,) = source.ratings
    assert file.file(home).is_relative_to(home.imports / "faces")
    (photos.parent / "ratings.csv").unlink()
    assert read_ratings(file, home=home).scores.tolist() == [0, 9, 4.5]


def test_means_find_their_counts_by_the_usual_name(photos: Path, home: Home) -> None:
    bring_in(photos, home, file="scores", content="image,score,annotators,group\n1.jpg,2.5,60,AF\n")
    (source,) = load_sources(home.sources_file)
    (file,) = source.ratings
    ratings = read_ratings(file, home=home)
    assert ratings.annotators is None
    assert ratings.counts.tolist() == [60]
    assert ratings.attributes == ['{"group": "AF"}']


def test_columns_can_have_other_names(photos: Path, home: Home) -> None:
    about = photos.parent / "about.csv"
    about.write_text("file,person\n1.jpg,X1\n3.PNG,X3\n")
    content = "file,who,mark,when\n1.jpg,ann,3,2026-01-01\n1.jpg,ann,4,2026-01-02\n"
    summary = bring_in(
        photos,
        home,
        content=content,
        pictures=about,
        picture_column="file",
        annotator_column="who",
        score_column="mark",
        rated_at_column="when",
    )
    assert (summary.ratings, summary.superseded) == (1, 1)
    assert "1 superseded" in str(summary)
    (source,) = load_sources(home.sources_file)
    assert source.pictures is not None
    assert source.pictures.file(home).read_text() == about.read_text()


def test_importing_again_replaces_the_source_and_its_files(photos: Path, home: Home) -> None:
    other = PagesSource(name="other", start_urls=["http://127.0.0.1:1/"])
    save_sources(home.sources_file, [other])
    bring_in(photos, home)
    once = everything_in(home)
    assert bring_in(photos, home).replaced
    assert everything_in(home) == once
    bring_in(photos, home, content=RATINGS + "2.jpg,bob,5\n", day="2026-02-02")
    sources = load_sources(home.sources_file)
    assert [source.name for source in sources] == ["other", "faces"]
    assert sources[0] == other
    assert isinstance(sources[1], FolderSource)
    assert sources[1].day == "2026-02-02"
    assert len(read_ratings(sources[1].ratings[0], home=home)) == 4
    assert [path.name for path in (home.imports / "faces").iterdir()] == [
        Path(sources[1].ratings[0].path).name
    ]


def test_the_name_of_a_source_that_is_no_folder_is_not_taken(photos: Path, home: Home) -> None:
    save_sources(home.sources_file, [PagesSource(name="faces", start_urls=["http://127.0.0.1:1/"])])
    before = everything_in(home)
    with pytest.raises(InputError, match="there is a source 'faces' already"):
        bring_in(photos, home)
    assert everything_in(home) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"content": RATINGS + "".join(f"x{k},a,3\n" for k in range(4))},
            "line 5: 'x0' names no picture; 3 of 7 rows can be used, 4 are like this one: a wrong column, "
            r"scale or folder is likely\. Mend the names",
        ),
        (
            {"content": "image,annotator,score\n8.jpg,ann,3\n1.jpg,ann,99\n2.jpg,ann,99\n"},
            "line 3: the score 99 is outside of 1..7; 0 of 3 rows can be used, 2 are .*--minimum",
        ),
        ({"content": ""}, "ratings.csv: the file is empty"),
        ({"ending": ".txt"}, r"ratings\.txt: its name does not tell its format\. Give it the ending"),
        (
            {"ending": ".jsonl"},
            r"ratings\.jsonl, line 1: it is no JSON \(Expecting value\); none of its 4 rows",
        ),
        ({"ending": ".parquet"}, r"ratings\.parquet: it is no Parquet file that can be read"),
        ({"content": "image,score\n1.jpg,3\n"}, "there is no column 'annotator'.*with --annotator-column"),
        (
            {"content": "image,annotator,score,split\n1.jpg,a,3,train\n2.jpg,a,3,foo\n"},
            r"ratings\.csv, line 3: 'foo' is no split. Write train, validation or test",
        ),
        (
            {"content": "image,annotator,score,split\n1.jpg,a,3,train\n1.jpg,b,3,val\n"},
            r"ratings\.csv, line 3: '1.jpg' is given as validation, but as train in .*ratings\.csv, line 2",
        ),
        ({"maximum": 6, "strict": True}, "line 3: the score 7 is outside of 1..6. Mend the score"),
        ({"content": RATINGS + "8.jpg,a,3\n", "strict": True}, r"line 5: '8\.jpg' names no picture"),
        ({"minimum": 7}, "minimum .7. has to be below maximum .7."),
        ({"name": "My Photos"}, "--name: 'My Photos' cannot be the name of a source"),
        ({"name": "../up"}, "cannot be the name of a source"),
        ({"day": "1 May"}, "'1 May' is not a day"),
        ({"day": "2026-02-30"}, "'2026-02-30' is not a day"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    photos: Path, home: Home, options: dict[str, Any], message: str
) -> None:
    bring_in(photos, home, name="earlier")
    before = everything_in(home)
    with pytest.raises(InputError, match=message) as caught:
        bring_in(photos, home, **options)
    assert "\n" not in str(caught.value)
    assert everything_in(home) == before


def test_rows_that_cannot_be_used_are_left_out_counted_and_listed(photos: Path, home: Home) -> None:
    about = photos.parent / "about.csv"
    about.write_text("image,person\n1.jpg,X1\n7.jpg,X7\n")
    summary = bring_in(photos, home, content=RATINGS + "8.jpg,ann,3\n2.jpg,bob,99\n", pictures=about)
    assert summary.left_out == {"unmatched": 2, "out_of_range": 1}
    assert (summary.rated, summary.ratings, summary.annotators, summary.highest) == (2, 3, 2, 7)
    assert f"3 rows left out (2 unmatched, 1 out_of_range), listed in {summary.listed}" in str(summary)
    assert summary.listed.read_text().splitlines()[1:] == [
        f"{about},3,7.jpg,unmatched,'7.jpg' names no picture",
        f"{photos.parent / 'ratings.csv'},5,8.jpg,unmatched,'8.jpg' names no picture",
        f"{photos.parent / 'ratings.csv'},6,2.jpg,out_of_range,the score 99 is outside of 1..7",
    ]
    assert bring_in(photos, home).left_out == {}
    assert not summary.listed.exists()


def test_a_split_in_two_files_is_on_one_side(photos: Path, home: Home) -> None:
    about = photos.parent / "about.csv"
    about.write_text("image,split\n1.jpg,train\n2.jpg,test\n")
    content = "image,annotator,score,split\n2.jpg,ann,4,training\n1.jpg,bob,7,train\n"
    with pytest.raises(InputError, match=r"about\.csv, line 3: '2\.jpg' is given as test, but as train in"):
        bring_in(photos, home, content=content, pictures=about)
    bring_in(photos, home, content=content.replace("training", "TEST"), pictures=about)


def test_a_name_that_means_two_pictures_is_left_out(photos: Path, home: Home) -> None:
    (photos / "inner" / "a").mkdir()
    for place in ("inner", "inner/a"):
        (photos / place / "5.jpg").write_bytes(b"bytes")
    content = "image,annotator,score\n5.jpg,ann,3\n"
    with pytest.raises(InputError, match=r"'5\.jpg' means 2 pictures, 'inner/5.jpg' for .*Write the path"):
        bring_in(photos, home, content=content)
    summary = bring_in(photos, home, content=content + "inner/5.jpg,ann,3\n")
    assert (summary.left_out, summary.ratings) == ({"ambiguous": 1}, 1)


@pytest.mark.parametrize(
    ("folder", "name"), [("My Photos", "my-photos"), ("Été--2025!", "ete-2025"), ("faces", "faces")]
)
def test_the_name_of_a_source_is_made_of_the_folders(
    photos: Path, home: Home, folder: str, name: str
) -> None:
    place = photos.rename(photos.with_name(folder))
    assert bring_in(place, home, name=None).source == name
    assert bring_in(place, home, name=None).replaced


def test_a_folder_that_makes_no_name_or_a_taken_one_needs_a_name(photos: Path, home: Home) -> None:
    other = photos.with_name("elsewhere") / "photos"
    other.mkdir(parents=True)
    (other / "1.jpg").write_bytes(b"bytes")
    import_folder(other, home=home, day="2026-02-01")
    with pytest.raises(
        InputError, match=r"a source 'photos' already, for the folder .*elsewhere.*--name, or"
    ):
        bring_in(photos, home, name=None)
    assert bring_in(photos, home, name="photos").replaced
    with pytest.raises(InputError, match=r"no name of a source can be made of '写真'.*--name"):
        bring_in(photos.rename(photos.with_name("写真")), home, name=None)


def test_a_subfolder_that_cannot_be_read_is_named(
    photos: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def closed(path: str) -> Any:
        if Path(path).name == "inner":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=r"photos/inner: it cannot be read \(Permission denied\)"):
        bring_in(photos, home)


def test_what_stands_around_the_source_in_sources_yaml_stays(photos: Path, home: Home) -> None:
    theirs = """\
# My sources.
sources:
  # Nightly.
  - name: nightly   # from the archive
    start_urls: ["http://127.0.0.1:1/"]

  # The faces of last year.
  - kind: folder
    name: faces
    path: /elsewhere
    day: 2025-01-01
  # Not yet:
  # - name: later
"""
    home.sources_file.write_text(theirs)
    bring_in(photos, home)
    text = home.sources_file.read_text()
    before, after = theirs.split("  - kind: folder")[0], "  # Not yet:\n  # - name: later\n"
    assert text.startswith(before)
    assert text.endswith(after)
    assert [source.name for source in load_sources(home.sources_file)] == ["nightly", "faces"]
    bring_in(photos, home, name="third")
    assert [source.name for source in load_sources(home.sources_file)] == ["nightly", "faces", "third"]
    assert home.sources_file.read_text().startswith(text.removesuffix(after))


def test_a_folder_without_pictures_is_refused(tmp_path: Path, home: Home) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        import_folder(tmp_path / "none", home=home, name="faces", day="2026-02-01")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there are no pictures in it"):
        import_folder(tmp_path / "empty", home=home, name="faces", day="2026-02-01")


def test_a_folder_without_ratings_is_a_source_too(photos: Path, home: Home) -> None:
    summary = import_folder(photos, home=home, name="faces", day="2026-02-01")
    assert (summary.rated, summary.unrated, summary.lowest) == (0, 3, None)
    assert [source.name for source in load_sources(home.sources_file)] == ["faces"]


def test_an_import_that_cannot_be_written_leaves_the_sources_as_they_were(
    photos: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(photos, home, name="earlier")
    before = everything_in(home)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\)"):
        bring_in(photos, home)
    assert everything_in(home) == before

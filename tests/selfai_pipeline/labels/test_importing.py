"""A folder of rated pictures becomes a source, or nothing changes at all."""

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
    photos: Path, home: Home, *, file: str = "ratings", content: str = RATINGS, **options: Any
) -> ImportSummary:
    path = photos.parent / f"{file}.csv"
    path.write_text(content)
    scale = {"minimum": 1, "maximum": 7} if file == "ratings" else {"minimum": 1, "maximum": 5}
    named = {"name": "faces", "day": "2026-02-01", **scale, **options}
    return import_folder(photos, home=home, **{file: path}, **named)


def everything_in(home: Home) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(home.root.rglob("*")) if path.is_file()}


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
            {"content": RATINGS + "8.jpg,ann,3\n9.jpg,ann,3\n"},
            r"2 of 4 names match no picture.*: '8\.jpg', '9\.jpg'\.",
        ),
        (
            {"content": RATINGS + "".join(f"x{k},a,3\n" for k in range(9))},
            r"'x0', 'x1', 'x2', 'x3', 'x4' \.\.\.",
        ),
        ({"content": ""}, "ratings.csv: the file is empty"),
        ({"content": "image,score\n1.jpg,3\n"}, "there is no column 'annotator'"),
        ({"maximum": 6}, "line 3: the score 7 is outside of 1..6"),
        ({"minimum": 7}, "minimum .7. has to be below maximum .7."),
        ({"name": "My Photos"}, "'My Photos' cannot be the name of a source"),
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


def test_a_name_that_means_two_pictures_is_refused(photos: Path, home: Home) -> None:
    (photos / "inner" / "a").mkdir()
    for place in ("inner", "inner/a"):
        (photos / place / "5.jpg").write_bytes(b"bytes")
    with pytest.raises(InputError, match=r"several pictures: '5\.jpg'\. Write the path .*'inner/5"):
        bring_in(photos, home, content="image,annotator,score\n5.jpg,ann,3\n")
    bring_in(photos, home, content="image,annotator,score\ninner/5.jpg,ann,3\n")


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

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\)"):
        bring_in(photos, home)
    assert everything_in(home) == before

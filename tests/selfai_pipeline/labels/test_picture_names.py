"""A name in a file finds its picture by the whole path, or by its end where only one fits."""

from selfai_pipeline.labels.picture_names import PictureNames

KNOWN = PictureNames(
    [("faces/1.jpg", "A"), ("faces/2.jpg", "B"), ("more/2.jpg", "C"), ("3.jpg", "D"), ("more/3.jpg", "E")]
)


def test_the_whole_path_means_one_picture() -> None:
    assert KNOWN.find("faces/2.jpg") == ["B"]


def test_the_end_of_a_path_is_enough_where_only_one_fits() -> None:
    assert KNOWN.find("1.jpg") == ["A"]
    assert KNOWN.find("./faces/1.jpg") == ["A"]
    assert KNOWN.find("faces\\1.jpg") == ["A"]


def test_an_exact_name_wins_over_the_end_of_another() -> None:
    assert KNOWN.find("3.jpg") == ["D"]


def test_the_end_of_two_paths_means_both() -> None:
    assert KNOWN.find("2.jpg") == ["B", "C"]


def test_a_part_of_a_name_is_no_name() -> None:
    assert KNOWN.find("jpg") == []
    assert KNOWN.find("aces/1.jpg") == []
    assert KNOWN.find("4.jpg") == []


def test_two_names_of_one_picture_are_one_picture() -> None:
    assert PictureNames([("a/1.jpg", "A"), ("b/1.jpg", "A")]).find("1.jpg") == ["A"]


def test_accents_are_the_same_composed_and_decomposed() -> None:
    composed, decomposed = "Ren\u00e9e.jpg", "Rene\u0301e.jpg"
    assert PictureNames([(f"faces/{decomposed}", "A")]).find(composed) == ["A"]
    assert PictureNames([(f"faces/{composed}", "A")]).find(f"faces/{decomposed}") == ["A"]

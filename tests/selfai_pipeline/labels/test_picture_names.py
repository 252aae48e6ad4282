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


def test_an_absolute_path_or_an_address_means_the_longest_path_that_it_ends_with() -> None:
    assert KNOWN.find("/data/all/faces/2.jpg") == ["B"]
    assert KNOWN.find("https://example.org/more/2.jpg?w=3") == ["C"]
    assert KNOWN.find("s3://bucket/my%20faces/more/3.jpg") == ["E"]
    assert KNOWN.find("C:\\pictures\\faces\\1.jpg") == ["A"]
    assert KNOWN.find("/data/3.jpg") == ["D"]
    assert KNOWN.find("/data/1.jpg") == []
    assert KNOWN.find("all/faces/2.jpg") == []
    assert KNOWN.find("http://[broken/1.jpg") == []


def test_the_address_of_a_crawled_picture_has_to_be_its_own() -> None:
    crawled = PictureNames([("https://one.example.org/1.jpg", "A"), ("1.jpg", "A")])
    assert crawled.find("https://one.example.org/1.jpg") == ["A"]
    assert crawled.find("https://two.example.org/1.jpg") == []

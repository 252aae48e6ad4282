"""The command `selfai remove`: its forms, what it asks, and what it says after a mistake."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from selfai_pipeline.cli import commands
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef

IMAGE = "ab" * 32
OTHER = "cd" * 32


def ratings(store: Store) -> TableRef:
    rows = [
        {
            "image_id": image_id,
            "annotator": "site/ann",
            "score": 4.0,
            "ratings": 1,
            "rated_at": None,
            "origin": "site",
            "original_score": 4.0,
            "attributes": "{}",
            "annotator_group": None,
        }
        for image_id in (IMAGE, OTHER)
    ]
    ref = store.tables.write(rows, asset="annotations")
    store.tables.point(Record(ref, "4", {}, {}, run_id="run-1"))
    return ref


@pytest.fixture
def table(store: Store) -> TableRef:
    return ratings(store)


def remove(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(commands, ["remove", *arguments], input=answer)


def files_of(home: Home) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}


def left(store: Store) -> list[str]:
    ref = store.tables.current("annotations").ref  # type: ignore[union-attr]
    return store.tables.read(ref)["image_id"].to_pylist()  # type: ignore[arg-type]


def test_a_dry_run_lists_what_would_go_and_changes_nothing(table: TableRef, home: Home) -> None:
    before = files_of(home)
    text = remove("--picture", IMAGE, "--dry-run")
    assert text.exit_code == 0, text.output
    assert IMAGE in text.stdout
    assert f"annotations, {table.sha256[:12]}" in text.stdout
    found = json.loads(remove("--picture", IMAGE, "--dry-run", "--json").stdout)
    assert found["pictures"] == [IMAGE]
    assert found["versions"] == [{"asset": "annotations", "partition": "all", "sha256": table.sha256}]
    assert files_of(home) == before


def test_it_asks_before_it_erases(table: TableRef, store: Store) -> None:
    refused = remove("--picture", IMAGE, "--reason", "letter 7", answer="n\n")
    assert refused.exit_code == 1
    assert left(store) == [IMAGE, OTHER]
    done = remove("--picture", IMAGE, "--reason", "letter 7", answer="y\n")
    assert done.exit_code == 0, done.output
    assert left(store) == [OTHER]


def test_with_json_nothing_else_is_printed_to_stdout_though_it_asks(table: TableRef) -> None:
    refused = remove("--picture", IMAGE, "--reason", "letter 7", "--json", answer="n\n")
    assert refused.stdout == ""
    done = remove("--picture", IMAGE, "--reason", "letter 7", "--json", answer="y\n")
    assert json.loads(done.stdout)["pictures"] == [IMAGE]
    assert "to be erased: 1 pictures" in done.stderr


def test_what_the_user_wrote_is_named_and_left(table: TableRef, store: Store, home: Home) -> None:
    home.settings_file.write_text(f"raw_crawl:\n  deny_pictures: ['{IMAGE}']\n")
    done = remove("--picture", IMAGE, "--reason", "letter 7", "--yes")
    assert str(home.settings_file) in done.stdout
    assert left(store) == [OTHER]


def test_what_selfai_keeps_is_told_from_what_the_user_wrote(table: TableRef, home: Home) -> None:
    """Whoever takes a name out of a record has altered it."""
    entry = home.root / "promotions" / f"000001-{'0' * 64}.json"
    entry.parent.mkdir()
    entry.write_text(f'{{"reason": "because of {IMAGE}"}}')
    home.settings_file.write_text(f"raw_crawl:\n  deny_pictures: ['{IMAGE}']\n")
    done = remove("--picture", IMAGE, "--reason", "letter 7", "--yes", "--json")
    written, kept = done.stderr.split("Selfai keeps them: do not edit them")
    assert str(home.settings_file) in written
    assert str(entry) in kept
    assert str(home.settings_file) not in kept
    found = json.loads(done.stdout)
    assert found["kept"] == [f"promotions/{entry.name}"]
    assert found["left"] == [*found["kept"], "settings.yaml"]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--picture", IMAGE, "--url", "https://one.example/"], ["--picture", IMAGE, "--resume"]],
)
def test_one_thing_is_removed_at_a_time(table: TableRef, arguments: list[str]) -> None:
    result = remove(*arguments)
    assert result.exit_code == 2
    assert "Name one thing" in result.stderr


def test_a_removal_without_a_reason_is_refused(table: TableRef, store: Store) -> None:
    result = remove("--picture", IMAGE, "--yes")
    assert isinstance(result.exception, InputError)
    assert "a removal needs a reason" in str(result.exception)
    assert left(store) == [IMAGE, OTHER]


def test_an_interrupted_removal_is_finished_before_another_one_and_by_resume(
    table: TableRef, store: Store, home: Home, interrupted: Callable[..., None]
) -> None:
    for finish in (["--resume"], ["--picture", OTHER, "--reason", "letter 8", "--yes"]):
        ratings(store)
        interrupted("--annotator", "site/ann")
        result = remove(*finish)
        assert "which was interrupted" in result.stderr
        assert left(store) == []
        assert list((home.removals / "unfinished").iterdir()) == []


def test_the_same_command_finishes_an_interrupted_removal_and_asks_nothing(
    table: TableRef, store: Store, interrupted: Callable[..., None]
) -> None:
    interrupted("--picture", IMAGE)
    result = remove("--picture", IMAGE, "--reason", "letter 7")
    assert result.exit_code == 0, result.output
    assert left(store) == [OTHER]


def test_with_json_an_interrupted_removal_is_told_of_in_json_alone(
    table: TableRef, store: Store, interrupted: Callable[..., None]
) -> None:
    interrupted("--picture", IMAGE)
    other = remove("--picture", OTHER, "--reason", "letter 8", "--json", "--yes")
    assert json.loads(other.stdout)["pictures"] == [OTHER]
    assert other.stderr.count(" is done.") == 2
    ratings(store)
    interrupted("--annotator", "site/ann")
    same = remove("--annotator", "site/ann", "--reason", "letter 7", "--json")
    assert json.loads(same.stdout)["asked"] == "annotator"
    ratings(store)
    interrupted("--annotator", "site/ann")
    assert [one["asked"] for one in json.loads(remove("--resume", "--json").stdout)] == ["annotator"]
    assert json.loads(remove("--resume", "--json").stdout) == []


def test_a_dry_run_of_resume_lists_what_an_interrupted_removal_has_to_erase(
    table: TableRef, home: Home, interrupted: Callable[..., None]
) -> None:
    assert remove("--resume", "--dry-run").stdout == "no removal was interrupted\n"
    assert json.loads(remove("--resume", "--dry-run", "--json").stdout) == []
    interrupted("--picture", IMAGE)
    before = files_of(home)
    shown = remove("--resume", "--dry-run")
    assert "which was interrupted, letter 7:\nto be erased: 1 pictures" in shown.stdout
    assert IMAGE in shown.stdout
    (plan,) = json.loads(remove("--resume", "--dry-run", "--json").stdout)
    assert plan["pictures"] == [IMAGE]
    assert files_of(home) == before


def test_it_asks_about_another_thing_though_a_removal_was_interrupted(
    table: TableRef, store: Store, interrupted: Callable[..., None]
) -> None:
    interrupted("--picture", IMAGE)
    refused = remove("--picture", OTHER, "--reason", "letter 8", answer="n\n")
    assert "Erase all of this for good?" in refused.stderr
    assert refused.exit_code == 1
    assert left(store) == [OTHER]


def test_what_cannot_be_removed_is_a_failure_though_a_removal_was_finished_before_it(
    table: TableRef, interrupted: Callable[..., None], raised: Callable[[Result], str]
) -> None:
    interrupted("--picture", IMAGE)
    assert "nothing that is kept knows it" in raised(remove("--host", "x.example", "--reason", "letter 8"))


def test_a_plan_that_is_done_does_not_outlive_the_next_removal(
    table: TableRef, home: Home, raised: Callable[[Result], str]
) -> None:
    """The process was killed in its last moment, and the file names what was removed."""
    remove("--picture", IMAGE, "--reason", "letter 7", "--yes")
    plan = home.removals / "unfinished" / "0123456789ab.done"
    plan.write_text(IMAGE)
    assert "it was removed on" in raised(remove("--picture", IMAGE, "--reason", "letter 7"))
    assert not plan.exists()


def test_it_waits_for_a_run_no_longer_than_it_is_told(
    table: TableRef, home: Home, store: Store, raised: Callable[[Result], str]
) -> None:
    from selfai_pipeline.turns import writing

    with writing(home):
        result = remove("--picture", IMAGE, "--reason", "letter 7", "--yes", "--wait", "0.1")
    assert "Waiting for what is at work to end" in result.stderr
    assert "Others were still at work" in raised(result)
    assert left(store) == [IMAGE, OTHER]


@pytest.fixture
def interrupted(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Begins a removal and has it end before its tables are done."""
    from selfai_pipeline.removal import erase

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def interrupt(*asked: str) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(erase, "redact", killed)
            assert remove(*asked, "--reason", "letter 7", "--yes").exit_code != 0
        assert len(list((home.removals / "unfinished").iterdir())) == 1

    return interrupt


@pytest.fixture
def raised() -> Callable[[Result], str]:
    return lambda result: str(result.exception)

"""`selfai promote` and `selfai release` on a home with scorers in it: what they say of removed data."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from selfai_pipeline.cli import commands
from selfai_pipeline.sources.tombstones import Tombstone


def selfai(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments))


@pytest.fixture
def marked(world, champion):
    """The champion, once a removal has taken out what it had learnt from."""

    def mark():
        learnt = {
            "asset": "finetuned_scorer",
            "sha256": champion.checkpoint_sha256,
            "pictures": {"train": 3},
        }
        stone = Tombstone(
            "0123456789ab", "2026-02-01T00:00:00+00:00", "letter 7", "picture", (), (), checkpoints=(learnt,)
        )
        world.store.files.write(stone.path, stone.to_json())

    return mark


MARK = "learnt from pictures that removal 0123456789ab took out on 2026-02-01 (3 of train)"


def test_promoting_the_champion_again_says_that_it_is_the_champion_and_what_is_in_it(world, champion, marked):
    again = ["promote", "@1", "--reason", "to be sure"]
    unchanged = "selfai-scorer@1 is the champion already; nothing was changed\n"
    finding, *others = selfai(*again).output.splitlines(keepends=True)
    assert finding.startswith("There is no other champion to compare it with. Pearson 0.9")
    assert others == [unchanged]
    marked()
    found = selfai(*again)
    assert found.exit_code == 0
    stage = f"finetuned_scorer {champion.checkpoint_sha256[:12]}"
    assert found.output == f"{finding}Removed data is in it: {stage} {MARK}.\n{unchanged}"
    assert len(world.log.entries) == 1


def test_a_bundle_of_a_model_with_removed_data_in_it_is_whole_and_verifying_says_what_is_in_it(
    champion, marked, tmp_path: Path
):
    folder = tmp_path / "bundle"
    assert selfai("release", "@champion", str(folder)).exit_code == 0
    whole = selfai("release", "--verify", str(folder))
    assert "removed data" not in whole.output
    marked()
    found = selfai("release", "--verify", str(folder))
    assert found.exit_code == 0
    (line,) = found.output.removeprefix(whole.output).splitlines()
    assert line.startswith("removed data is in it: finetuned_scorer ")
    assert MARK in line
    assert "removed data is in it" in str(selfai("release", "@champion", str(tmp_path / "another")).exception)

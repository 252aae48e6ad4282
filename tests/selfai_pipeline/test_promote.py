"""`selfai promote`, `rollback` and `release`: what they print, and what they say after a mistake.

What moves, and when, stands in tests/selfai_pipeline/release.
"""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from selfai_pipeline.cli import commands
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home

MOVES = [
    ["promote", "@1", "--reason", "it is better"],
    ["rollback", "--reason", "it is worse"],
    ["release", "@1", "folder"],
]
NOTHING_REGISTERED = r"^selfai-scorer: no scorer of this name is registered\. `selfai run` trains one"


def selfai(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "@1"], "Missing option '--reason'"),
        (["rollback"], "Missing option '--reason'"),
        (["promote", "--reason", "why"], "Missing argument 'MODEL'"),
        (["release"], "Name the MODEL and the FOLDER to write, or --verify and a folder."),
        (["release", "@1"], "Name the MODEL and the FOLDER to write"),
        (["release", "@1", "folder", "--verify", "."], "Name the folder behind --verify alone."),
    ],
)
def test_what_is_missing_is_said(arguments: list[str], message: str) -> None:
    found = selfai(*arguments)
    assert found.exit_code == 2
    assert message in found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "@1", "--reason", "it is better"], NOTHING_REGISTERED),
        (["rollback", "--reason", "it is worse"], NOTHING_REGISTERED),
        (["release", "@champion", "folder"], NOTHING_REGISTERED),
        (["promote", "@1", "--reason", " "], "--reason: no reason is given"),
        (["release", "--verify", "."], "this is no release bundle"),
    ],
)
def test_a_home_without_models_is_told_in_a_sentence(
    arguments: list[str], message: str, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = selfai(*arguments)
    assert isinstance(found.exception, InputError)
    assert re.search(message, str(found.exception))


@pytest.mark.parametrize("arguments", MOVES)
def test_a_mistyped_home_is_named_and_not_made(arguments: list[str], tmp_path: Path) -> None:
    found = selfai(*arguments)
    assert isinstance(found.exception, InputError)
    assert "home: there is no such folder. Check SELFAI_HOME." in str(found.exception)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("arguments", MOVES)
def test_until_an_interrupted_removal_is_finished_no_champion_moves(
    arguments: list[str], home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its marks may not have been written yet."""
    monkeypatch.chdir(tmp_path)
    plan = home.removals / "unfinished" / "0123456789ab.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{}")
    assert "a removal was interrupted" in str(selfai(*arguments).exception)
    plan.unlink()
    assert re.search(NOTHING_REGISTERED, str(selfai(*arguments).exception))

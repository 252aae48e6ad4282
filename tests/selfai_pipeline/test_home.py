"""Where everything is written, with how much space, and whose instance file lies there."""

import shutil
from pathlib import Path

import pytest

from selfai_pipeline import home as module
from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import PROJECT, Home, install_instance_file

OURS = (PROJECT / "dagster.yaml").read_bytes()


def test_the_home_is_in_the_project_wherever_the_command_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SELFAI_HOME")
    assert Home.from_environment().root == PROJECT / ".selfai"
    assert (PROJECT / "pyproject.toml").exists()
    monkeypatch.setenv("SELFAI_HOME", "mine")
    assert Home.from_environment().root == tmp_path / "mine"


def test_too_little_space_is_one_sentence_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.at(tmp_path / "not" / "there" / "yet")
    home.require_free_space()
    asked = []

    def nearly_full(path: Path) -> shutil._ntuple_diskusage:
        asked.append(path)
        return shutil._ntuple_diskusage(100, 100, 400_000_000)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(StorageError, match=r"yet: 0\.4 GB are free .* needs 1 GB\. Free some space, or set"):
        home.require_free_space()
    assert asked == [tmp_path]


def test_the_instance_file_is_installed_and_brought_up_to_date(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = home.dagster / "dagster.yaml"
    assert install_instance_file(home) is None
    assert file.read_bytes() == OURS
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "dagster.yaml").write_bytes(OURS + b"# newer\n")
    monkeypatch.setattr(module, "PROJECT", newer)
    assert install_instance_file(home) is None
    assert file.read_bytes() == OURS + b"# newer\n"


@pytest.mark.parametrize("was_installed", [True, False])
def test_a_file_of_the_users_own_is_kept_and_told_of_once_a_version(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, was_installed: bool
) -> None:
    file = home.dagster / "dagster.yaml"
    if was_installed:
        install_instance_file(home)
    file.write_bytes(b"# mine\n")
    assert [install_instance_file(home) for _ in range(3)] == [file, None, None]
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "dagster.yaml").write_bytes(OURS + b"# newer\n")
    monkeypatch.setattr(module, "PROJECT", newer)
    assert [install_instance_file(home) for _ in range(3)] == [file, None, None]
    assert file.read_bytes() == b"# mine\n"
    file.unlink()
    assert install_instance_file(home) is None
    assert file.read_bytes() == OURS + b"# newer\n"


def test_an_instance_file_that_cannot_be_written_is_one_sentence(home: Home) -> None:
    home.dagster.rmdir()
    home.dagster.write_text("in the way")
    with pytest.raises(StorageError, match=r"dagster\.yaml: cannot be (read|written)"):
        install_instance_file(home)


def test_a_write_that_breaks_off_leaves_the_old_instance_file(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_instance_file(home)
    (tmp_path / "dagster.yaml").write_bytes(OURS + b"# newer\n")
    monkeypatch.setattr(module, "PROJECT", tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        install_instance_file(home)
    assert (home.dagster / "dagster.yaml").read_bytes() == OURS

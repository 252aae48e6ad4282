"""settings.yaml: defaults that stay, for the Launchpad, schedules and `selfai run` alike."""

import os
import subprocess
import sys
from typing import Any, ClassVar

import pytest
from pydantic import Field

from selfai_pipeline.environment import Settings
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.knobs import check_sections, defaults_of


class TrainingSettings(Settings):
    """Example settings."""

    sample: ClassVar[dict[str, Any]] = {"epochs": 2, "rate": 0.5}
    epochs: int = Field(24, ge=1, description="how many")
    rate: float = 0.1
    sizes: tuple[int, ...] = (1,)


def test_without_a_file_the_defaults_of_the_environment_hold() -> None:
    settings = defaults_of(TrainingSettings, section="scorer")()
    assert (settings.epochs, settings.rate) == (2, 0.5)


def test_a_setting_in_the_file_is_a_real_default_above_those_of_the_environment(home: Home) -> None:
    home.settings_file.write_text("scorer:\n  epochs: 60\n  sizes: [3, 4]\nother:\n  epochs: 7\n")
    settings = defaults_of(TrainingSettings, section="scorer")
    assert (settings().epochs, settings().rate, settings().sizes) == (60, 0.5, (3, 4))
    assert settings.model_fields["epochs"].default == 60
    assert settings.model_fields["epochs"].description == "how many"
    assert settings(epochs=3).epochs == 3, "the Launchpad can still change it for one run"
    assert defaults_of(TrainingSettings, section="third")().epochs == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scorer:\n  rate: 1\n  epoch: 3\n", r"settings\.yaml, line 3: scorer\.epoch: no such setting"),
        ("\nscorer:\n  epochs: 0\n", r"line 3: scorer\.epochs: .*greater than or equal to 1"),
        ("scorer: many\n", r"line 1: scorer: it holds no settings"),
        ("- scorer\n", r"settings\.yaml: it holds no sections"),
        ("scorer:\n  epochs: 3\n  epochs: 4\n", r"line 3: the key 'epochs' stands twice"),
        ("scorer: {\n", r"line \d: it is no YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(home: Home, text: str, message: str) -> None:
    home.settings_file.write_text(text)
    with pytest.raises(InputError, match=message):
        defaults_of(TrainingSettings, section="scorer")


def test_a_section_that_nothing_reads_is_refused(home: Home) -> None:
    home.settings_file.write_text("scorer:\n  epochs: 3\nscorrer:\n  epochs: 3\n")
    with pytest.raises(InputError, match=r"line 3: scorrer: no asset has this name\. Sections are: scorer"):
        check_sections({"scorer"})
    check_sections({"scorer", "scorrer"})


def test_the_graph_takes_its_defaults_from_the_file(home: Home) -> None:
    home.settings_file.write_text("finetuned_scorer:\n  epochs: 61\ncompute:\n  threads: 3\n")
    code = (
        "from assets.graph import CONFIGS\nfrom resources.compute import Compute\n"
        "print(CONFIGS['finetuned_scorer']().epochs, Compute().threads)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=True
    )
    assert result.stdout.split() == ["61", "3"]


@pytest.mark.parametrize("section", ["annotations", "finetuned_scorrer"])
def test_the_graph_does_not_load_with_a_section_that_nothing_reads(home: Home, section: str) -> None:
    home.settings_file.write_text(f"{section}:\n  epochs: 61\n")
    result = subprocess.run(
        [sys.executable, "-c", "import assets.graph"], capture_output=True, text=True, env={**os.environ}
    )
    assert result.returncode == 1
    assert f"settings.yaml, line 1: {section}: no asset has this name" in result.stderr

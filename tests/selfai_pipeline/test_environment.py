"""SELFAI_ENV picks the defaults; a wrong name is an error that lists the right ones."""

import os
import subprocess
import sys
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from selfai_pipeline.environment import Environment, Settings, current_environment, for_environment, port_of
from selfai_pipeline.errors import InputError


class TrainingSettings(Settings):
    """Example settings."""

    sample: ClassVar[dict[str, Any]] = {"epochs": 2}
    epochs: int = Field(24, ge=1, description="how many")
    rate: float = 0.1


def test_the_sample_is_the_default_environment_and_has_its_own_defaults() -> None:
    assert current_environment() is Environment.SAMPLE
    settings = for_environment(TrainingSettings)
    assert settings().epochs == 2
    assert settings().rate == 0.1
    assert settings.model_fields["epochs"].description == "how many"
    with pytest.raises(ValidationError):
        settings(epochs=0)


def test_other_environments_keep_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFAI_ENV", "local")
    assert for_environment(TrainingSettings)().epochs == 24


def test_an_unknown_environment_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFAI_ENV", "staging")
    with pytest.raises(InputError, match=r"SELFAI_ENV.*staging.*sample, local, production"):
        current_environment()


@pytest.mark.parametrize("text", ["abc", "0", "70000", "-1", ""])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert port_of("SELFAI_UI_PORT", 3000) == 3000
    monkeypatch.setenv("SELFAI_UI_PORT", text)
    with pytest.raises(InputError, match=r"SELFAI_UI_PORT: .* is no port\. Set it to a number"):
        port_of("SELFAI_UI_PORT", 3000)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="momentum"):
        TrainingSettings(momentum=0.9)  # type: ignore[call-arg]


def test_nothing_is_reported_to_the_makers_of_mlflow() -> None:
    """In a process of its own, and outside of pytest and CI, where MLflow reports nothing anyway."""
    code = (
        "import resources.tracking; from mlflow.telemetry.utils import is_telemetry_disabled; "
        "print(is_telemetry_disabled())"
    )
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "SELFAI_HOME")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare)
    assert result.stdout.strip() == "True", result.stderr

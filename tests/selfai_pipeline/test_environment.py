"""SELFAI_ENV picks the defaults; a wrong name is an error that lists the right ones."""

from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from selfai_pipeline.environment import Environment, Settings, current_environment, for_environment
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


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="momentum"):
        TrainingSettings(momentum=0.9)  # type: ignore[call-arg]

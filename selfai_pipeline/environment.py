"""Which environment the process runs in, and the defaults that follow from it."""

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from selfai_pipeline.errors import InputError


class Environment(StrEnum):
    """`sample` runs the rendered gallery in minutes, `local` one machine, `production` shared services."""

    SAMPLE = "sample"
    LOCAL = "local"
    PRODUCTION = "production"


def usable_cores() -> int:
    """Cores that this process may use; macOS cannot say, it has all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def current_environment() -> Environment:
    """The environment named by `SELFAI_ENV`; `sample` where it is not set.

    Raises:
        InputError: `SELFAI_ENV` names no environment.
    """
    name = os.environ.get("SELFAI_ENV", Environment.SAMPLE)
    try:
        return Environment(name)
    except ValueError:
        raise InputError(
            f"no environment is called {name!r}",
            where="SELFAI_ENV",
            mend=f"Set it to one of: {', '.join(Environment)}.",
        ) from None


PORTS = {
    "SELFAI_UI_PORT": 3000,
    "SELFAI_MLFLOW_PORT": 5000,
    "SELFAI_FILES_PORT": 3080,
    "SELFAI_ANNOTATE_PORT": 8660,
}
"""The settings of the ports of Selfai's own services, each with its default. The sample gallery is none of
them: it plays the part of somebody else's site."""


def port_of(setting: str, default: int | None = None) -> int:
    """The port that the environment variable `setting` names, else `default`; `PORTS` has those of its own.

    Raises:
        InputError: it names no port.
    """
    text = os.environ.get(setting, str(PORTS[setting] if default is None else default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise InputError(f"{text!r} is no port", where=setting, mend="Set it to a number from 1 to 65535.")
    return int(text)


class Settings(BaseModel):
    """Base of every group of settings: unknown keys are refused, values do not change once read.

    `sample` holds the defaults that differ in the sample environment, where everything has to end in minutes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    sample: ClassVar[dict[str, Any]] = {}

    def recorded(self) -> dict[str, Any]:
        """The values as the record of a version keeps them, for as long as there is a home."""
        return self.model_dump(mode="json")


SettingsClass = TypeVar("SettingsClass", bound=Settings)


def for_environment(settings: type[SettingsClass]) -> type[SettingsClass]:
    """`settings` with the defaults of the current environment, as a class to inherit from.

    The defaults are real defaults of the class, so that the Launchpad shows what a run will use.
    """
    is_sample = current_environment() is Environment.SAMPLE
    return with_defaults(settings, settings.sample if is_sample else {}, name="Sample")


def with_defaults(
    settings: type[SettingsClass], defaults: Mapping[str, Any], *, name: str
) -> type[SettingsClass]:
    """`settings` with other defaults for some of its fields, as a class to inherit from.

    Args:
        name: what the name of the class begins with.
    """
    if not defaults:
        return settings
    unknown = set(defaults) - set(settings.model_fields)
    if unknown:
        raise TypeError(f"{settings.__name__} has no fields {sorted(unknown)} that could have other defaults")
    namespace: dict[str, Any] = {
        "__module__": settings.__module__,
        "__doc__": settings.__doc__,
        "__annotations__": {field: settings.model_fields[field].annotation for field in defaults},
    }
    for field, value in defaults.items():
        changed = settings.model_fields[field]._copy()
        changed.default, changed.default_factory = value, None
        namespace[field] = changed
    metaclass: Any = type(settings)
    return cast(type[SettingsClass], metaclass(f"{name}{settings.__name__}", (settings,), namespace))

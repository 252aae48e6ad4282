"""`SELFAI_HOME/settings.yaml`: defaults of settings that stay, where the Launchpad's hold for one run.

One section an asset (or `compute`, `detector`), one line a setting:

    finetuned_scorer:
      epochs: 60
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from selfai_pipeline.environment import Settings, for_environment, with_defaults
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.declarations import Place, line_of, plain_values, read_text

MEND = "docs/graph.md shows the file, and the Launchpad every setting with its meaning."

SettingsClass = TypeVar("SettingsClass", bound=Settings)


def defaults_of(settings: type[SettingsClass], *, section: str) -> type[SettingsClass]:
    """`settings` with the defaults of the environment and, above them, those of a section of the file.

    Raises:
        InputError: the file cannot be read, or a setting or a value in the section is wrong; the message
            names the line.
    """
    base = for_environment(settings)
    sections, lines = _read()
    given = sections.get(section) or {}
    where = f"{_path()}, line "
    if not isinstance(given, dict):
        raise InputError(
            f"{section}: it holds no settings", where=f"{where}{line_of(lines, (section,))}", mend=MEND
        )
    try:
        values = base.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = (section, *first["loc"])
        problem = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(
            f"{'.'.join(map(str, place))}: {problem.removeprefix('Value error, ')}",
            where=f"{where}{line_of(lines, place)}",
            mend=MEND,
        ) from None
    return with_defaults(base, {name: getattr(values, name) for name in given}, name="Own")


def check_sections(known: Collection[str]) -> None:
    """Raises InputError where the file has a section of another name."""
    sections, lines = _read()
    for section in sections:
        if section not in known:
            raise InputError(
                f"{section}: no asset has this name",
                where=f"{_path()}, line {line_of(lines, (section,))}",
                mend=f"Sections are: {', '.join(sorted(known))}.",
            )


def _path() -> Path:
    return Home.from_environment().settings_file


def _read() -> tuple[dict[str, Any], dict[Place, int]]:
    """The sections of the file and the line of every key; nothing where there is no file."""
    path = _path()
    try:
        text = read_text(path)
    except FileNotFoundError:
        return {}, {}
    try:
        content, lines = plain_values(text, path)
    except RecursionError:
        raise InputError("its values lie within each other too deeply", where=str(path), mend=MEND) from None
    if not isinstance(content, dict):
        raise InputError("it holds no sections", where=str(path), mend=MEND)
    return content, lines

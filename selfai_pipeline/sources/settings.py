"""What is crawled (`sources.yaml`) and within which limits (the knobs of a crawl)."""

from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.crawl_settings import CrawlSettings, SourceLimits
from selfai_pipeline.sources.declarations import line_of, read_declarations, read_text
from selfai_pipeline.sources.label_files import PicturesFile, RatingsFile
from selfai_pipeline.sources.source_kinds import (
    DAY_PLACEHOLDER,
    KINDS,
    SOURCE_NAME,
    FolderSource,
    PagesSource,
    Source,
    UrlListSource,
    is_day,
)
from selfai_pipeline.storage import replace_file

__all__ = [
    "DAY_PLACEHOLDER",
    "SAMPLE_GALLERY",
    "SOURCE_NAME",
    "CrawlSettings",
    "FolderSource",
    "PagesSource",
    "PicturesFile",
    "RatingsFile",
    "Source",
    "SourceLimits",
    "UrlListSource",
    "is_day",
    "load_sources",
    "save_sources",
    "text_with_source",
]

SAMPLE_GALLERY = "sample-gallery"
"""Name of the source that `selfai init` declares for the rendered sample gallery."""


def load_sources(path: Path) -> list[Source]:
    """The sources declared in a `sources.yaml`, in its order.

    Raises:
        InputError: the file is missing or cannot be read, or a key, a value or a name in it is wrong; the
            message names the line.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        text = read_text(path)
    except FileNotFoundError:
        raise InputError(
            "there is no such file", where=str(path), mend="Make one with `selfai init`."
        ) from None
    declarations, lines = read_declarations(text, path)
    adapter: TypeAdapter[Source] = TypeAdapter(Source)
    sources: list[Source] = []
    for index, declaration in enumerate(declarations):
        if isinstance(declaration, dict):
            declaration.setdefault("kind", "pages")
        try:
            source = adapter.validate_python(declaration)
        except ValidationError as error:
            first = error.errors()[0]
            location = first["loc"][1:] if first["loc"][:1] in [(kind,) for kind in KINDS] else first["loc"]
            if first["type"] == "union_tag_invalid":
                location = ("kind",)
            raise InputError(
                f"{'.'.join(map(str, location)) or 'source'}: {_problem(first)}",
                where=f"{path}, line {line_of(lines, ('sources', index, *location))}",
                mend="Mend that line; docs/sources.md lists every key.",
            ) from None
        if any(source.name == other.name for other in sources):
            raise InputError(
                f"a second source is called {source.name!r}",
                where=f"{path}, line {line_of(lines, ('sources', index, 'name'))}",
                mend="Give each source a name of its own.",
            )
        sources.append(source)
    return sources


def save_sources(path: Path, sources: list[Source]) -> None:
    """Write `sources` as a new `sources.yaml`; a reader sees the old file or the new one, never a part.

    Raises:
        StorageError: the file cannot be written.
    """
    import yaml

    from selfai_pipeline.sources.source_text import HEAD

    declarations = [_declaration(source) for source in sources]
    text = yaml.safe_dump({"sources": declarations}, sort_keys=False, allow_unicode=True, width=110)
    replace_file(path, f"{HEAD}{text}".encode())


def text_with_source(path: Path, source: Source) -> str:
    """`sources.yaml` with a source in place of the one of its name, or added; all else in the text stays.

    Raises:
        InputError: the file is no valid one, or is written so that one source cannot be changed alone.
    """
    from selfai_pipeline.sources.source_text import with_source

    text = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    return with_source(text, _declaration(source), path=path)


def _declaration(source: Source) -> dict[str, Any]:
    """The source as plain values, without those that are the default."""
    values = source.model_dump(mode="json", exclude_defaults=True)
    return {"name": source.name, "kind": source.kind, **values}


def _problem(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such key"
    if error["type"] == "union_tag_invalid":
        return f"no kind of source is called {error['ctx']['tag']!r}; it has to be one of: {', '.join(KINDS)}"
    if error["type"] == "model_type" and error["loc"][1:]:
        return "it has keys of its own, each on a line below it"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]

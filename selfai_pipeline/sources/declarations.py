"""A `sources.yaml` as plain values that remember their lines."""

from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError

Place = tuple[str | int, ...]


def line_of(lines: dict[Place, int], place: Place) -> int:
    """Line of the deepest known part of `place`."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a mark at its beginning.

    Raises:
        FileNotFoundError: there is none.
        InputError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"it cannot be read ({error})", where=str(path), mend="It has to be a text file in UTF-8."
        ) from error


def read_declarations(text: str, path: Path) -> tuple[list[Any], dict[Place, int]]:
    """The list under `sources:` as plain values, and the line of every key and item.

    Raises:
        InputError: the text is no YAML, or uses what is not taken here: aliases, a key twice, another key.
    """
    try:
        content, lines = plain_values(text, path)
    except RecursionError:
        raise InputError(
            "its values lie within each other too deeply",
            where=str(path),
            mend="docs/sources.md shows how a source is declared.",
        ) from None
    if not isinstance(content, dict):
        content = {"sources": ()}
    unknown = sorted(set(content) - {"sources"})
    if unknown:
        raise InputError(
            f"{unknown[0]}: no such key",
            where=f"{path}, line {line_of(lines, (unknown[0],))}",
            mend="The file has one key, `sources`, with a list of them.",
        )
    declarations = content.get("sources")
    if declarations is None:
        declarations = []
    if not isinstance(declarations, list):
        raise InputError(
            "it holds no list of sources",
            where=f"{path}, line {line_of(lines, ('sources',))}",
            mend="Write `sources:` and below it one entry a source, each with a leading hyphen.",
        )
    return declarations, lines


def plain_values(text: str, path: Path) -> tuple[Any, dict[Place, int]]:
    """A whole YAML document as plain values, and the line of every key and item.

    Raises:
        InputError: the text is no YAML, uses an alias, or has a key twice.
        RecursionError: its values lie within each other too deeply.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(
            f"it is no YAML: {error.problem}", where=f"{path}, line {line}", mend="Mend that line."
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"it is no YAML: {error}", where=str(path), mend="Mend the file.") from None
    lines: dict[Place, int] = {}
    seen: set[int] = set()

    def plain(node: Any, place: Place) -> Any:
        lines.setdefault(place, node.start_mark.line + 1)
        # An alias is its anchor's node again. A few of them can stand for more values than memory holds.
        if id(node) in seen:
            raise InputError(
                "the value that is anchored here (&) is used again by an alias (*)",
                where=f"{path}, line {node.start_mark.line + 1}",
                mend="Write the value out where the alias stands.",
            )
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            mapping: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key, line = str(key_node.value), key_node.start_mark.line + 1
                if key in mapping:
                    raise InputError(
                        f"the key {key!r} stands twice",
                        where=f"{path}, line {line}",
                        mend="Leave one of them.",
                    )
                lines[(*place, key)] = line
                mapping[key] = plain(value_node, (*place, key))
            return mapping
        if isinstance(node, yaml.SequenceNode):
            return [plain(item, (*place, index)) for index, item in enumerate(node.value)]
        # Days stay text: YAML would make dates of them.
        if node.tag.rpartition(":")[2] in ("int", "float", "bool", "null"):
            try:
                return yaml.safe_load(node.value) if node.value else None
            except (yaml.YAMLError, ValueError):
                # The tag is written by hand; whoever checks the value names what is wrong with it.
                return node.value
        return node.value

    return {} if root is None else plain(root, ()), lines

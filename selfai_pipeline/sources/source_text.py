"""Change one source in the text of a `sources.yaml`, and leave the rest of it as its author wrote it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.declarations import read_declarations

if TYPE_CHECKING:
    import yaml

HEAD = "# Where pictures come from.\n"


def with_source(text: str, declaration: Mapping[str, Any], *, path: Path) -> str:
    """`text` with the declaration in place of the source of its name, or after the last one.

    Comments, order and layout stay; only what stands inside of the replaced source is lost.

    Args:
        text: of a valid file; empty: a new one.
        declaration: plain values, `name` among them.
        path: of the file, for messages.

    Raises:
        InputError: one source of the text cannot be changed alone (brackets around them all, an alias).
    """
    import yaml

    before, _ = read_declarations(text, path)
    names = [one.get("name") for one in before]
    known = declaration["name"] in names
    place = names.index(declaration["name"]) if known else len(names)
    entry = yaml.safe_dump([dict(declaration)], sort_keys=False, allow_unicode=True, width=100)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None or not names:
        changed = _with_first(text, entry, root)
    else:
        changed = _with_entry(text, entry, root.value[0][1], place, replaced=known)
    try:
        after, _ = read_declarations(changed, path)
    except InputError:
        after = []
    expected = [*before[:place], declaration["name"], *before[place + 1 :]]
    if [one.get("name") if k == place else one for k, one in enumerate(after)] != expected:
        raise InputError(
            f"{declaration['name']!r} cannot be declared there without a change to other sources",
            where=str(path),
            mend="Write every source out in full, an entry with a leading hyphen each, without brackets.",
        )
    return changed


def _with_first(text: str, entry: str, root: "yaml.Node | None") -> str:
    """The entry as the only source; the text around an empty list stays."""
    if root is None:
        head = f"{text.rstrip()}\n" if text.strip() else HEAD
        return f"{head}sources:\n{entry}"
    end = root.value[-1][1].end_mark if root.value else root.end_mark
    return f"{text[: root.start_mark.index]}sources:\n{entry}{text[end.index :].lstrip()}"


def _with_entry(text: str, entry: str, sequence: "yaml.SequenceNode", place: int, *, replaced: bool) -> str:
    """The entry as item `place` of a block sequence: in place of that item, or after the one before it."""
    column = sequence.start_mark.column
    lines = "".join(f"{' ' * column}{line}\n" for line in entry.splitlines())
    item = sequence.value[place if replaced else place - 1]
    end = text.find("\n", _end(text, item))
    end = len(text) if end < 0 else end + 1
    start = _dash(text, item.start_mark.index, column) if replaced else end
    gap = "" if text[:start].endswith("\n") or not start else "\n"
    return f"{text[:start]}{gap}{lines}{text[end:]}"


def _dash(text: str, index: int, column: int) -> int:
    """Where the line with the hyphen of the item at `index` begins."""
    start = text.rfind("\n", 0, index) + 1
    while start and text[start : start + column + 1].strip() != "-":
        start = text.rfind("\n", 0, start - 1) + 1
    return start


def _end(text: str, node: "yaml.Node") -> int:
    """Where the last character of a node stands; the marks of blocks lie behind the comments after them."""
    import yaml

    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return len(text[: node.end_mark.index].rstrip()) - 1
    if isinstance(node, yaml.MappingNode):
        return max(_end(text, part) for pair in node.value for part in pair)
    return max(_end(text, part) for part in node.value)

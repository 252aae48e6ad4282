"""Label Studio's JSON exports ("JSON" and "JSON-MIN") as a table with one row a rating."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.reasons import Reason
from selfai_pipeline.labels.text_table import Misfit, TextTable, collect_table, text_of
from selfai_pipeline.sources.settings import RatingsFile

WHO, SCORE, WHEN = "annotations.completed_by", "annotations.result", "annotations.updated_at"
"""Columns of the table beside those of a task's `data`."""

OF_SMALL_EXPORT = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
"""Keys that JSON-MIN adds to the data and the tags, which it does not tell apart."""

SCORE_TYPES = ("rating", "number", "choices")
UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a file that was uploaded to it."""

MOST_ANNOTATIONS = 2_000_000
"""Which are held until it is clear what the export is about."""

LONGEST_NAME = 200
"""Characters of numbers, tags and annotators."""


@dataclass(frozen=True, slots=True)
class _Said:
    """An annotation: its number, who made it when, the values of each tag, and the data of its task; text."""

    item: int
    number: str
    who: str
    when: str
    values: Mapping[str, list[str]]
    data: Mapping[str, str]


def is_export(item: Mapping[str, Any]) -> bool:
    """Whether an item of a JSON array is one of Label Studio's exports."""
    return _is_task(item) or {"annotation_id", "annotator", "lead_time"} <= item.keys()


def _is_task(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("annotations"), list) and isinstance(item.get("data"), dict)


def read_export(
    file: RatingsFile, path: Path, rows: Iterable[tuple[int, dict[str, Any]]], misfits: list[Misfit]
) -> tuple[TextTable, RatingsFile]:
    """The ratings of an export, and `file` with the columns in which the table has them.

    A row is an annotation's result of the tag that `score_column` names; its picture is what the task's data
    has under `picture_column`, its moment that of the last change, and the rest of the data are further
    columns. Cancelled annotations, those without such a result, and predictions are misfits.

    Raises:
        InputError: the file is declared as means, no annotation has the tag, it is not clear which one is
            meant, or no task has the picture.
    """
    if not file.annotator_column:
        raise InputError(
            "it is an export of Label Studio, which holds single ratings and no means",
            where=str(path),
            mend="Give it with --ratings (leave annotator_column out in sources.yaml).",
        )
    said: list[_Said] = []
    for item, values in rows:
        if _is_task(values):
            said += _of_task(item, values, file, misfits)
        elif is_export(values):
            said += _of_small(item, values, file)
        else:
            misfits.append(Misfit(item, Reason.NO_RESULT, "it is no task of an export"))
        if len(said) + len(misfits) > MOST_ANNOTATIONS:
            raise InputError(
                f"it has more than {MOST_ANNOTATIONS} annotations",
                where=f"{path}, item {item}",
                mend="Export parts of the project, and import them as several files.",
            )
    keys = sorted({key for one in said for key in one.data})
    if said and file.picture_column not in keys:
        raise InputError(
            f"no task has {file.picture_column!r} in its data; it has {', '.join(map(repr, keys[:12]))}",
            where=str(path),
            mend="Name the right one with --picture-column (picture_column in sources.yaml).",
        )
    tag = _tag(said, file, path)
    table = collect_table(path, _ratings(said, tag, file, misfits), misfits)
    columns = {"annotator_column": WHO, "score_column": SCORE, "rated_at_column": WHEN}
    return table, file.model_copy(update=columns)


def _of_task(item: int, task: Mapping[str, Any], file: RatingsFile, misfits: list[Misfit]) -> Iterator[_Said]:
    """The annotations of a task that were not cancelled; the others, and predictions, become misfits."""
    name, data = picture_name(task["data"].get(file.picture_column)), _texts(task["data"], file)
    for prediction in _objects(task.get("predictions")):
        what = f"prediction {_plain(prediction.get('id'))} was made by a model"
        misfits.append(Misfit(item, Reason.PREDICTION, what, name))
    for annotation in task["annotations"]:
        if not isinstance(annotation, dict):
            misfits.append(Misfit(item, Reason.NO_RESULT, "an annotation is no object", name))
            continue
        number = _plain(annotation.get("id"))
        if annotation.get("was_cancelled"):
            what = f"annotation {number} was cancelled"
            misfits.append(Misfit(item, Reason.CANCELLED, what, name))
            continue
        values: dict[str, list[str]] = {}
        for result in _objects(annotation.get("result")):
            kind, value = result.get("type"), result.get("value")
            if kind in SCORE_TYPES and isinstance(value, dict) and kind in value:
                values.setdefault(_plain(result.get("from_name")), []).append(_single(value[kind]))
        when = _plain(annotation.get("updated_at") or annotation.get("created_at"))
        yield _Said(item, number, annotator_of(annotation.get("completed_by")), when, values, data)


def _of_small(item: int, record: Mapping[str, Any], file: RatingsFile) -> Iterator[_Said]:
    """The annotation of a record of JSON-MIN; none where its task has none."""
    if record.get("annotation_id") is None:
        return
    values: dict[str, list[str]] = {}
    data = {}
    for key, value in record.items():
        found = _wrapped(value)
        if found:
            values[key] = found
        elif key == file.score_column:
            values[key] = [] if value is None else [_single(value)]
        elif key not in OF_SMALL_EXPORT:
            data[key] = value
    when = _plain(record.get("updated_at") or record.get("created_at"))
    number = _plain(record["annotation_id"])
    yield _Said(item, number, annotator_of(record.get("annotator")), when, values, _texts(data, file))


def _wrapped(value: Any) -> list[str]:
    """The scores in `[{"rating": 4}]`, as JSON-MIN writes them; none where it is something else."""
    if not isinstance(value, list):
        return []
    kinds = SCORE_TYPES[:2]
    return [text_of(one[kind])[0] for one in _objects(value) for kind in kinds if kind in one]


def _tag(said: list[_Said], file: RatingsFile, path: Path) -> str:
    """The tag that holds the score: the one that is named, else the only one that can."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for one in said:
        for tag, values in one.values.items():
            found[tag].update(values)
    if file.score_column in found or not said:
        return file.score_column
    numbers = sorted(tag for tag, values in found.items() if all(map(_is_number, values)))
    if len(numbers) == 1 and file.score_column == RatingsFile.model_fields["score_column"].default:
        return numbers[0]
    if len(numbers) > 1:
        what = f"it has several tags with numbers: {', '.join(map(repr, numbers[:12]))}"
    else:
        tags = ", ".join(map(repr, sorted(found)[:12])) or "none with a rating, a number or choices"
        what = f"no annotation has a result of {file.score_column!r}; its tags are {tags}"
    raise InputError(
        what,
        where=str(path),
        mend="Name the tag that holds the score with --score-column (score_column in sources.yaml).",
    )


def _ratings(
    said: list[_Said], tag: str, file: RatingsFile, misfits: list[Misfit]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for one in said:
        name = one.data.get(file.picture_column, "")
        values = one.values.get(tag, [])
        if len(set(values)) != 1:
            what = f"annotation {one.number} has {len(values) or 'no'} results of {tag!r}"
            misfits.append(Misfit(one.item, Reason.NO_RESULT, what, name))
            continue
        yield one.item, {**one.data, WHO: one.who, SCORE: values[0], WHEN: one.when}


def picture_name(value: Any) -> str:
    """The name of the picture that a task's data hold.

    Of an upload the name of the file, of a local file its absolute path below the root of the documents, of
    all else the address as it stands; empty where there is none, or the picture itself stands there.
    """
    if not isinstance(value, str) or value.startswith("data:"):
        return ""
    try:
        address = urlsplit(value)
    except ValueError:
        return value
    if "/data/local-files" in address.path:
        within = parse_qs(address.query).get("d", [""])[0]
        return f"/{within.lstrip('/')}" if within else ""
    if "/data/upload/" in address.path:
        return UPLOADED.sub("", unquote(address.path.rpartition("/")[2]), count=1)
    return value


def annotator_of(completed_by: Any) -> str:
    """The annotator's number; where an e-mail address is all there is, a hash of it in its place."""
    if isinstance(completed_by, dict):
        number = completed_by.get("id")
        completed_by = completed_by.get("email") if number is None else number
    who = _plain(completed_by)
    if "@" in who:
        return f"email-{hashlib.sha256(who.strip().lower().encode()).hexdigest()[:12]}"
    return who


def _objects(values: Any) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _texts(data: Mapping[str, Any], file: RatingsFile) -> dict[str, str]:
    """What a task says of its picture, as text: parsed lists and objects take many times the memory."""
    texts = {name: text_of(value)[0] for name, value in data.items()}
    if file.picture_column in data:
        texts[file.picture_column] = picture_name(data[file.picture_column])
    return texts


def _single(value: Any) -> str:
    """The text of a value, or of the one choice in a list of one."""
    return text_of(value[0] if isinstance(value, list) and len(value) == 1 else value)[0]


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> str:
    return text_of(value)[0][:LONGEST_NAME]

"""Rows of JSON Lines, and of a file that is one JSON array of objects."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.tabular.lines import TextFile, numbered_lines
from selfai_pipeline.sources.tabular.rows import LONGEST_LINE, MOST_COLUMNS, Report, Row

LARGEST_ARRAY = 500_000_000
"""Bytes of a file that is one JSON array: its text is held as a whole."""

SPACE = re.compile(r"[ \t\r\n]*")


class _Decoder:
    """JSON to the letter: no NaN, no infinite numbers; a key that an object says twice is remembered."""

    def __init__(self) -> None:
        self.repeated = ""
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=_refuse_constant)

    def decode(self, text: str) -> Any:
        self.repeated = ""
        return self._decoder.decode(text)

    def decode_at(self, text: str, place: int) -> tuple[Any, int]:
        """The value that begins at `place`, and where it ends."""
        self.repeated = ""
        return self._decoder.raw_decode(text, place)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.repeated = next(key for key, count in counts.items() if count > 1)
        return values


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"it has {text}, where null may stand")


def _why(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return str(error).partition(";")[0]


def json_lines(
    file: TextFile, columns: Sequence[str], *, name: str, report: Report, setting: str
) -> Iterator[Row]:
    """The rows of JSON Lines, an object each; see `read_rows`. Blank lines are passed over."""
    decoder = _Decoder()

    def values() -> Iterator[tuple[int, Any, str]]:
        for number, line in numbered_lines(file, name):
            if line is None:
                report(number, "line_too_long", f"it is longer than {LONGEST_LINE} bytes")
                continue
            if not line.strip():
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError:
                report(number, "not_utf8", "it is not UTF-8")
                continue
            try:
                value = decoder.decode(text)
            except (ValueError, RecursionError) as error:
                if "\0" in text:
                    report(number, "null_character", "it holds a null character")
                else:
                    report(number, "not_json", f"it is no JSON ({_why(error)})")
                continue
            yield number, value, decoder.repeated

    return _objects(values(), columns, name=name, report=report, setting=setting, unit="line")


def json_array(
    file: IO[bytes], columns: Sequence[str], *, name: str, report: Report, setting: str
) -> Iterator[Row]:
    """The objects of a file that is one JSON array, an item at a time; see `read_rows`."""
    decoder = _Decoder()

    def refusal(what: str, text: str, place: int) -> InputError:
        line = text.count("\n", 0, place) + 1
        return InputError(
            what, where=f"{name}, line {line}", mend="Save it as one list of objects, or as .jsonl."
        )

    def values() -> Iterator[tuple[int, Any, str]]:
        text = _whole_text(file, name)
        place = _after_space(text, 0)
        if text[place : place + 1] != "[":
            raise refusal("it does not begin with [, as a list in JSON does", text, place)
        number, place = 0, _after_space(text, place + 1)
        while text[place : place + 1] != "]":
            if number:
                if text[place : place + 1] != ",":
                    raise refusal("it is no list in JSON: a comma or ] is missing", text, place)
                place = _after_space(text, place + 1)
            number += 1
            try:
                value, end = decoder.decode_at(text, place)
            except json.JSONDecodeError as error:
                raise refusal(f"it is no JSON ({_why(error)})", text, error.pos) from None
            except (ValueError, RecursionError) as error:
                what = f"item {number}, which begins here, is no JSON ({_why(error)})"
                raise refusal(what, text, place) from None
            yield number, value, decoder.repeated
            place = _after_space(text, end)
        if _after_space(text, place + 1) != len(text):
            raise refusal("something follows the list", text, place)

    return _objects(values(), columns, name=name, report=report, setting=setting, unit="item")


def _whole_text(file: IO[bytes], name: str) -> str:
    content = file.read(LARGEST_ARRAY + 1)
    if len(content) > LARGEST_ARRAY:
        raise InputError(
            f"it has more than {LARGEST_ARRAY} bytes",
            where=name,
            mend="Save it in parts, or as JSON Lines (.jsonl).",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError("it is not UTF-8", where=f"{name}, line {line}", mend="Save it in UTF-8.") from None


def _after_space(text: str, place: int) -> int:
    found = SPACE.match(text, place)
    return place if found is None else found.end()


def _objects(
    values: Iterator[tuple[int, Any, str]],
    columns: Sequence[str],
    *,
    name: str,
    report: Report,
    setting: str,
    unit: str,
) -> Iterator[Row]:
    """The rows among (number, value, key that it repeats)."""
    missing, first = {column for column in columns if column}, 0
    keys: list[str] = []
    for number, value, repeated in values:
        if not isinstance(value, dict):
            report(number, "not_json", "it is no JSON object")
        elif repeated:
            report(number, "repeated_key", f"it has the key {repeated[:100]!r} twice")
        elif len(value) > MOST_COLUMNS:
            report(number, "too_many_columns", f"it has {len(value)} keys, where {MOST_COLUMNS} are the most")
        else:
            first = first or number
            keys = keys or sorted(value)
            missing -= value.keys()
            wanted = tuple([value.get(column) for column in columns])
            yield Row(number, wanted, partial(_without, value, columns))
    if first and missing:
        # A row may lack a key; that all of them do is a mistake in the name.
        raise InputError(
            f"no row has {sorted(missing)[0]!r}; the first has {', '.join(map(repr, keys[:12]))}",
            where=f"{name}, {unit} {first}",
            mend=f"Name the right one with {setting}.",
        )


def _without(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}

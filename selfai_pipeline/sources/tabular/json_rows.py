"""Rows of JSON Lines, and of a file that is one JSON array of objects."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.tabular.json_text import JsonText
from selfai_pipeline.sources.tabular.lines import TextFile, numbered_lines
from selfai_pipeline.sources.tabular.rows import LONGEST_LINE, MOST_COLUMNS, Report, Row

LONGEST_ITEM = 20_000_000
"""Characters of an item of a JSON array, which is held as a whole."""


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
    """The objects of a file that is one JSON array, an item at a time; see `read_rows`.

    No more of the file is held than an item and what is read with it.
    """
    decoder, text = _Decoder(), JsonText(file, name)

    def refusal(what: str, place: int) -> InputError:
        return InputError(
            what,
            where=f"{name}, line {text.line_at(place)}",
            mend="Save it as one list of objects, or as .jsonl.",
        )

    def item(number: int) -> Any:
        while True:
            place = text.place
            try:
                value, end = decoder.decode_at(text.text, text.place)
            except json.JSONDecodeError as error:
                # It may go on behind what was read.
                if len(text.text) - text.place > LONGEST_ITEM:
                    what = (
                        f"item {number}, which begins here, is none, or longer than {LONGEST_ITEM} characters"
                    )
                    raise refusal(what, text.place) from None
                if not text.more():
                    raise refusal(f"it is no JSON ({_why(error)})", text.place + error.pos - place) from None
            except (ValueError, RecursionError) as error:
                what = f"item {number}, which begins here, is no JSON ({_why(error)})"
                raise refusal(what, text.place) from None
            else:
                # So may a number.
                if end < len(text.text) or not text.more():
                    text.place += end - place
                    return value

    def values() -> Iterator[tuple[int, Any, str]]:
        if not text.comes("["):
            raise refusal("it does not begin with [, as a list in JSON does", text.place)
        number = 0
        while not text.comes("]"):
            if number and not text.comes(","):
                raise refusal("it is no list in JSON: a comma or ] is missing", text.place)
            text.pass_space()
            number += 1
            value = item(number)
            yield number, value, decoder.repeated
        if not text.is_over:
            raise refusal("something follows the list", text.place)

    return _objects(values(), columns, name=name, report=report, setting=setting, unit="item")


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

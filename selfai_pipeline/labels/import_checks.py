"""When an import is refused for its rows: most of them are bad, or they put a picture on two sides."""

import json
from collections import Counter
from collections.abc import Sequence

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.left_out import LeftOut, place_of
from selfai_pipeline.labels.ratings_file import Rows
from selfai_pipeline.labels.reasons import MENDS, NO_RATINGS
from selfai_pipeline.labels.splits import Split, parse_split


def refuse_bad_rows(left_out: Sequence[LeftOut], *, read: int, strict: bool) -> None:
    """Pass a file of `read` rows on without the rows that are left out, or refuse it.

    Those that nobody meant as ratings count on neither side.

    Raises:
        InputError: with `strict`, any row is bad; else more than half of them are.
    """
    left_out = [one for one in left_out if one.reason not in NO_RATINGS]
    if not left_out:
        return
    if strict:
        first = min(left_out, key=lambda one: one.line)
        raise InputError(first.detail, where=first.place, mend=MENDS[first.reason])
    if 2 * len(left_out) <= read:
        return
    reason, count = Counter(one.reason for one in left_out).most_common(1)[0]
    first = min((one for one in left_out if one.reason is reason), key=lambda one: one.line)
    usable = f"{read - len(left_out)} of {read} rows can be used, {count} are like this one"
    raise InputError(
        f"{first.detail}; {usable}: a wrong column, scale or folder is likely",
        where=first.place,
        mend=MENDS[reason],
    )


def check_splits(parts: Sequence[Rows], named: Sequence[Sequence[str | None]], *, column: str) -> None:
    """Make sure that each cell of `column` is a split, and that each picture is on one side.

    Args:
        named: the picture of each row of each part; None: none.

    Raises:
        InputError: it is not so; the message names file and line.
    """
    texts: dict[str, str] = {}
    first: dict[str, tuple[Split, str]] = {}
    for part, pictures in zip(parts, named, strict=True):
        for picture, line, attributes in zip(pictures, part.lines, part.attributes, strict=True):
            if attributes not in texts:
                texts[attributes] = json.loads(attributes).get(column, "")
            text, place = texts[attributes], place_of(part.file.path, line)
            if picture is None or not text:
                continue
            side = parse_split(text)
            if side is None:
                raise InputError(
                    f"{text!r} is no split",
                    where=place,
                    mend=f"Write train, validation or test, or call the column {column!r} something else.",
                )
            before, earlier = first.setdefault(picture, (side, place))
            if side is not before:
                raise InputError(
                    f"{picture!r} is given as {side}, but as {before} in {earlier}",
                    where=place,
                    mend="A picture can be on one side only: mend one of the two.",
                )

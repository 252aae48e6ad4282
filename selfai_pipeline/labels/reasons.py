"""Why a row of a ratings file cannot be used, and how to mend it."""

from enum import StrEnum

from selfai_pipeline.sources.tabular.rows import MENDS as ROW_MENDS


class Reason(StrEnum):
    """Why a row is left out; the values stand in facts and lists."""

    CELLS = "cells"
    NO_NAME = "no_name"
    NO_ANNOTATOR = "no_annotator"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    NO_COUNT = "no_count"
    NO_MOMENT = "no_moment"
    CONTRADICTS = "contradicts"
    UNMATCHED = "unmatched"
    AMBIGUOUS = "ambiguous"
    NESTED = "nested"
    LINE_TOO_LONG = "line_too_long"
    NULL_CHARACTER = "null_character"
    NOT_UTF8 = "not_utf8"
    NOT_CSV = "not_csv"
    NOT_JSON = "not_json"
    REPEATED_KEY = "repeated_key"
    TOO_MANY_COLUMNS = "too_many_columns"
    NO_RESULT = "no_result"
    CANCELLED = "cancelled"
    PREDICTION = "prediction"


NO_RATINGS = frozenset({Reason.CANCELLED, Reason.PREDICTION})
"""Of rows that nobody meant as ratings: they are listed, and are no mistake in the file."""

MENDS = {
    **{Reason(reason): mend for reason, mend in ROW_MENDS.items()},
    Reason.NO_NAME: "Fill in the picture's name, or name its column with --picture-column.",
    Reason.NO_ANNOTATOR: "Fill in the annotator, or name the column with --annotator-column.",
    Reason.NOT_A_NUMBER: "Write scores with a decimal point, or name their column with --score-column.",
    Reason.OUT_OF_RANGE: "Mend the score, or give the scale of the file with --minimum and --maximum.",
    Reason.NO_COUNT: "Write counts as whole numbers of 1 or more, or name their column with --count-column.",
    Reason.NO_MOMENT: "Write moments as 2026-01-31T12:00:00Z, or name their column with --rated-at-column.",
    Reason.CONTRADICTS: "Keep one of the rows, or name the column with their moments with --rated-at-column.",
    Reason.UNMATCHED: "Mend the names, name their column with --picture-column, or give the right folder.",
    Reason.AMBIGUOUS: "Write the path inside the folder as the picture's name.",
    Reason.NESTED: "Write one name there, no list and no object.",
    Reason.NO_RESULT: "Name the tag that holds the score with --score-column.",
    Reason.CANCELLED: "There is nothing to mend: the annotator skipped the picture.",
    Reason.PREDICTION: "There is nothing to mend: only what people said is a rating.",
}
"""What to do, with the options of `selfai import`; in sources.yaml they have underscores and no dashes."""

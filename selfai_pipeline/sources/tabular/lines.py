"""Lines of a text file, however long the file makes them."""

import gzip
from collections.abc import Iterator
from typing import IO

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.tabular.rows import LONGEST_LINE

LONGEST_SKIPPED = 100_000_000
"""Bytes of a line that is passed over; a longer one is no line of a table."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

TextFile = IO[bytes] | gzip.GzipFile


def numbered_lines(file: TextFile, name: str) -> Iterator[tuple[int, bytes | None]]:
    """(number, line with its end) of each line; None in the place of one that is too long.

    No line is held that is longer than `LONGEST_LINE`.

    Raises:
        InputError: a line does not end within `LONGEST_SKIPPED`.
    """
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
            yield number, line
            continue
        skipped = len(line)
        while part := file.readline(1 << 20):
            skipped += len(part)
            if skipped > LONGEST_SKIPPED:
                raise InputError(
                    f"the line does not end within {LONGEST_SKIPPED} bytes",
                    where=f"{name}, line {number}",
                    mend="Save the file as text, a row a line.",
                )
            if part.endswith(b"\n"):
                break
        yield number, None

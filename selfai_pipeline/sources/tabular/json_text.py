"""The text of a JSON file, read on as far as it is asked for and forgotten as far as it was taken."""

import codecs
import re
from typing import IO

from selfai_pipeline.errors import InputError

READ_AT_ONCE = 1 << 20

SPACE = re.compile(r"[ \t\r\n]*")


class JsonText:
    """A window on the text of a file in UTF-8; `text[place:]` is what was read and not yet taken."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._lines_before = 0
        self.text, self.place = "", 0

    def more(self) -> bool:
        """Read on, as much again as is there already; False at the end of the file.

        Raises:
            InputError: the file is not UTF-8.
        """
        self._lines_before += self.text.count("\n", 0, self.place)
        self.text, self.place = self.text[self.place :], 0
        content = self._file.read(max(READ_AT_ONCE, len(self.text)))
        try:
            self.text += self._decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            line = self.line_at(len(self.text)) + error.object[: error.start].count(b"\n")
            raise InputError(
                "it is not UTF-8", where=f"{self._name}, line {line}", mend="Save it in UTF-8."
            ) from None
        return bool(content)

    def line_at(self, place: int) -> int:
        """The line of the file on which a place of `text` lies, from 1."""
        return self._lines_before + self.text.count("\n", 0, place) + 1

    def pass_space(self) -> None:
        """Take the white space that comes next."""
        while True:
            found = SPACE.match(self.text, self.place)
            self.place = self.place if found is None else found.end()
            if self.place < len(self.text) or not self.more():
                return

    def comes(self, letter: str) -> bool:
        """Whether this letter comes next, behind white space; it is taken, and so is the space."""
        self.pass_space()
        if self.text[self.place : self.place + 1] != letter:
            return False
        self.place += 1
        return True

    @property
    def is_over(self) -> bool:
        """Whether nothing but white space comes."""
        self.pass_space()
        return self.place == len(self.text)

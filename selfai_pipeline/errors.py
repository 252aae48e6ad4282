"""The errors a user can act on: each message says what is wrong, where, and how to mend it."""

from typing import Any


class SelfaiError(Exception):
    """Base of every error that Selfai raises on purpose."""


class InputError(SelfaiError):
    """Something that came from outside (a file, a table, a setting) cannot be used as it is.

    Args:
        what: what is wrong, in one clause.
        where: the file, row, line, partition or setting at fault.
        mend: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str, mend: str) -> None:
        super().__init__(f"{where}: {what}. {mend}")
        self.what = what
        self.where = where
        self.mend = mend

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes, which rebuild them from positional arguments otherwise.
        return _rebuilt, (type(self), self.what, self.where, self.mend)


def _rebuilt(kind: type[InputError], what: str, where: str, mend: str) -> InputError:
    return kind(what, where=where, mend=mend)


class TooLittleToLearn(InputError):
    """A label table with too few faces, or too few different scores, to train on."""


class PassingTrouble(SelfaiError):
    """What may be over on its own in a minute, so that the same call is worth another try."""


class MissingVersion(SelfaiError):
    """A table version, checkpoint or stored picture that a reference names is not in the store."""


class AlteredVersion(SelfaiError):
    """Stored bytes do not match the hash they are named by."""


class StorageError(SelfaiError):
    """`SELFAI_HOME` or the object store cannot be written: full, read-only, or not permitted."""


class UndefinedMetric(SelfaiError):
    """A figure has no value on this data (a correlation of constant scores, say); the message says why."""


class OutOfMemory(SelfaiError):
    """The device or the machine has too little memory; the message names what would need less."""


class TrainingDiverged(SelfaiError):
    """The loss stopped being finite; the message names the step, the loss and the last good checkpoint."""

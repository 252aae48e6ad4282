"""What verification says of a file."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What was found of a file.

    Redacted: a removal took rows out, and what is left is as it was left. Changed since: it is an input from
    outside the graph, and is not what the current version was made from any more.
    """

    INTACT = "intact"
    REDACTED = "redacted"
    CHANGED = "changed since"
    ALTERED = "altered"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """A file and its state; `kind` says what the file is, `reason` what the state alone does not tell."""

    state: State
    kind: str
    path: str
    reason: str = ""

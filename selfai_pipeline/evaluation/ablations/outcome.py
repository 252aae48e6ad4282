"""What came of one arm with one seed: a row of `ablation_run`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef


class State(StrEnum):
    """Whether an arm has figures."""

    FINISHED = "finished"
    NOT_RUN = "not_run"


@dataclass(frozen=True)
class Outcome:
    """Of an arm that could not run there is the reason, and nothing else.

    Attributes:
        network: what was fine-tuned, in words.
        parameters: of the scorer; with a model for each group, of all of them.
        pearson, pearson_low, pearson_high: on the test faces, with the interval (None where there is none).
        validation_pearson: of the epoch that was kept, in float32; None for several models.
        mean_absolute_error: on the test faces, points.
        steps: of the optimizer, in all stages.
        seconds: of the clock, in all stages, on the machine named in the run's metadata.
        operations: additions and multiplications of training, in all stages.
        course: of the epochs of fine-tuning, seconds and operations since the arm began, and the validation
            correlation then, in the number format of training; empty for several models.
        predicted: scores of the test faces in the order of the label table.
        scorers: hashes of the checkpoints that scored them.
    """

    arm: str
    seed: int
    state: State
    reason: str = ""
    network: str = ""
    parameters: int = 0
    faces: int = 0
    pearson: float | None = None
    pearson_low: float | None = None
    pearson_high: float | None = None
    validation_pearson: float | None = None
    mean_absolute_error: float | None = None
    steps: int = 0
    seconds: float = 0.0
    operations: int = 0
    course: list[tuple[float, int, float]] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    scorers: list[str] = field(default_factory=list)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), allow_nan=False).encode()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Outcome":
        course = [(float(at), int(work), float(value)) for at, work, value in values["course"]]
        return cls(**{**values, "state": State(values["state"]), "course": course})


def write_outcomes(
    outcomes: Iterable[Outcome], *, arm: str, store: Store, facts: Mapping[str, Any]
) -> TableRef:
    """The outcomes of an arm as a version of `ablation_run`, by seed. Seconds are in it: no two are alike."""
    by_seed = sorted(outcomes, key=lambda one: one.seed)
    rows = [{**asdict(one), "course": json.dumps(one.course)} for one in by_seed]
    return store.tables.write(rows, asset="ablation_run", partition=arm, facts=facts)


def made_alike(ref: TableRef, other: TableRef, *, store: Store) -> bool:
    """Whether two arms were run with the same settings of training and by the same code."""
    return bool(store.tables.facts(ref).get("made_with") == store.tables.facts(other).get("made_with"))


def read_outcomes(ref: TableRef, *, store: Store) -> Sequence[Outcome]:
    rows = store.tables.read(ref).to_pylist()
    return [Outcome.from_mapping({**row, "course": json.loads(row["course"])}) for row in rows]

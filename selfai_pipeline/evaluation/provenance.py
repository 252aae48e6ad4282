"""The chain of checkpoints behind a scorer, and proof that it learnt from none of the test faces."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from selfai_pipeline.errors import InputError, MissingVersion
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, TableRef
from selfai_pipeline.training.checkpoints import load_record


@dataclass(frozen=True)
class Stage:
    """One checkpoint of the chain and its record."""

    ref: CheckpointRef
    record: Mapping[str, Any]

    @property
    def history(self) -> list[Mapping[str, float]]:
        """One mapping an epoch; empty for a stage that does not train."""
        return list(self.record.get("history") or [])

    @property
    def growth(self) -> list[Mapping[str, Any]]:
        """Net2Net events, in the order in which they happened."""
        return list(self.record.get("growth") or [])

    @property
    def inputs(self) -> Mapping[str, str]:
        """`labels` and `parent`: hashes, where the stage has them."""
        return dict(self.record.get("inputs") or {})


def chain_of(scorer: CheckpointRef, *, store: Store) -> list[Stage]:
    """The scorer and everything it was made from, the scorer last.

    Raises:
        MissingVersion: a parent that a record names is not in the store.
        AlteredVersion, InputError: a record cannot be used (see `load_record`).
    """
    stages = [Stage(scorer, load_record(scorer, store=store))]
    while parent := stages[0].inputs.get("parent"):
        stages.insert(0, _stage(parent, child=stages[0].ref, store=store))
    return stages


def _stage(sha256: str, *, child: CheckpointRef, store: Store) -> Stage:
    for asset in store.files.list("checkpoints"):
        if store.files.exists(f"checkpoints/{asset}/{sha256}/record.json"):
            record = load_record(CheckpointRef(asset, WHOLE, sha256, 0), store=store)
            return Stage(CheckpointRef(asset, WHOLE, sha256, int(record.get("rows", 0))), record)
    raise MissingVersion(
        f"{child.asset} {child.sha256[:12]} was made from checkpoint {sha256[:12]}, which is not in the "
        f"store. Put it back from a copy, or materialize {child.asset} and what it stands on again."
    )


def check_unseen(
    test_pictures: Collection[str], stages: Iterable[Stage], *, labels: TableRef, store: Store
) -> None:
    """Make sure that no stage trained on, or chose its epoch by, a picture of the test split.

    Stages that read the same label table are safe by its splits; an earlier table may have split otherwise.

    Raises:
        InputError: a stage has seen test pictures.
        MissingVersion: a label table that a stage read is not in the store.
    """
    tested = set(test_pictures)
    for stage in stages:
        earlier = stage.inputs.get("labels")
        if not earlier or earlier == labels.sha256:
            continue
        rows = store.tables.read(
            TableRef(labels.asset, labels.partition, earlier, 0), ["image_id", "split"]
        ).to_pylist()
        seen = tested & {row["image_id"] for row in rows if row["split"] != "test"}
        if seen:
            raise InputError(
                f"{stage.ref.asset} {stage.ref.sha256[:12]} has seen {len(seen)} of {len(tested)} test "
                "pictures: it was trained on an earlier label table that split them otherwise",
                where=f"{labels.asset} {labels.sha256[:12]}",
                mend="Materialize the training assets again, from siamese_checkpoint on.",
            )

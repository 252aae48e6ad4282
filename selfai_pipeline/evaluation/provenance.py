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
    """One checkpoint of the chain, its record, and the stage before it (None for the first)."""

    ref: CheckpointRef
    record: Mapping[str, Any]
    parent: "Stage | None" = None

    @property
    def history(self) -> list[Mapping[str, float]]:
        """One mapping an epoch of the stage's own; empty for a stage that does not train."""
        return self._own("history")

    @property
    def growth(self) -> list[Mapping[str, Any]]:
        """The stage's own Net2Net events, in the order in which they happened."""
        return self._own("growth")

    @property
    def inputs(self) -> Mapping[str, str]:
        """`labels` and `parent`: hashes, where the stage has them."""
        return dict(self.record.get("inputs") or {})

    def _own(self, key: str) -> list[Mapping[str, Any]]:
        """The list under `key`, without what the record took over from its parent's."""
        listed = list(self.record.get(key) or [])
        inherited = list(self.parent.record.get(key) or []) if self.parent else []
        return listed[len(inherited) :] if listed[: len(inherited)] == inherited else listed


def chain_of(scorer: CheckpointRef, *, store: Store) -> list[Stage]:
    """The scorer and everything it was made from, the scorer last.

    Raises:
        MissingVersion: a parent that a record names is not in the store.
        AlteredVersion, InputError: a record cannot be used (see `load_record`).
    """
    records = [(scorer, load_record(scorer, store=store))]
    while parent := (records[-1][1].get("inputs") or {}).get("parent"):
        records.append(_parent(parent, child=records[-1][0], store=store))
    stages: list[Stage] = []
    for ref, record in reversed(records):
        stages.append(Stage(ref, record, stages[-1] if stages else None))
    return stages


def _parent(sha256: str, *, child: CheckpointRef, store: Store) -> tuple[CheckpointRef, dict[str, Any]]:
    for asset in store.files.list("checkpoints"):
        if store.files.exists(f"checkpoints/{asset}/{sha256}/record.json"):
            record = load_record(CheckpointRef(asset, WHOLE, sha256, 0), store=store)
            return CheckpointRef(asset, WHOLE, sha256, int(record.get("rows", 0))), record
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

"""The chain of checkpoints behind a scorer, and proof that it learnt from no face that is held out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfai_pipeline.errors import InputError, MissingVersion
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, TableRef
from selfai_pipeline.training.checkpoint_records import load_record


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


RANKS = {"train": 0, "validation": 1, "test": 2}
"""How far a split is held out: what was nearer to training before must not be further away now."""


def check_unseen(
    stages: Iterable[Stage],
    *,
    labels: TableRef,
    store: Store,
    splits: Collection[str] = ("validation", "test"),
) -> None:
    """Make sure that no stage learnt from, or was chosen by, a face that `labels` holds out.

    Stages that read the same label table are safe by its splits; an earlier table may have split otherwise.
    A validation face of `labels` must not have been trained on, a test face neither trained on nor validated
    on. A face counts as the same where picture or crop are, or where the two pictures are near-duplicates by
    the rule that `labels` was split by.

    Args:
        splits: those of `labels` that are looked at.

    Raises:
        InputError: a stage has seen faces that are now held out.
        MissingVersion, AlteredVersion: a label table that a stage read is not as it was.
    """
    held_out: list[dict[str, Any]] = []
    for stage in stages:
        if not _read_other_labels(stage, labels):
            continue
        if not held_out:
            rows = store.tables.read(labels, COLUMNS).to_pylist()
            held_out = [row for row in rows if row["split"] in splits]
        seen = sum(seen_faces([stage], held_out, labels=labels, store=store))
        if seen:
            raise InputError(
                f"{stage.ref.asset} {stage.ref.sha256[:12]} has seen {seen} of {len(held_out)} faces that "
                "are now held out: it was trained on an earlier label table that split them otherwise",
                where=f"{labels.asset} {labels.sha256[:12]}",
                mend="Materialize the training assets again, from siamese_checkpoint on.",
            )


def seen_faces(
    stages: Iterable[Stage], faces: Sequence[Mapping[str, Any]], *, labels: TableRef, store: Store
) -> list[bool]:
    """Which held-out faces of `labels` some stage has seen, in the sense of `check_unseen`.

    Args:
        faces: rows of `labels`, with its `COLUMNS`.

    Raises:
        MissingVersion, AlteredVersion: a label table that a stage read is not as it was.
    """
    facts = store.tables.facts(labels)
    seen = [False] * len(faces)
    for sha256 in {stage.inputs["labels"] for stage in stages if _read_other_labels(stage, labels)}:
        earlier = store.tables.find(labels.asset, labels.partition, sha256)
        found = _seen(
            faces,
            store.tables.read(earlier, COLUMNS).to_pylist(),
            radius=int(facts.get("duplicate_radius", 0)),
            least_correlation=float(facts.get("duplicate_correlation", HASHES_ALONE)),
        )
        seen = [before or now for before, now in zip(seen, found, strict=True)]
    return seen


def seen_clusters(
    stages: Iterable[Stage], faces: Sequence[Mapping[str, Any]], *, labels: TableRef, store: Store
) -> set[str]:
    """The clusters of which some stage has seen a face: another picture of that person is no test of it.

    Args:
        faces: rows of `labels`, with its `COLUMNS` and `cluster`.

    Raises:
        MissingVersion, AlteredVersion: a label table that a stage read is not as it was.
    """
    seen = seen_faces(stages, faces, labels=labels, store=store)
    return {face["cluster"] for face, is_seen in zip(faces, seen, strict=True) if is_seen}


def _read_other_labels(stage: Stage, labels: TableRef) -> bool:
    return (stage.inputs.get("labels") or labels.sha256) != labels.sha256


COLUMNS = ["image_id", "crop_sha256", "perceptual_hash", "thumbnail", "split"]
HASHES_ALONE = 1.1
"""A correlation that no two thumbnails reach."""


def _seen(
    held_out: Sequence[Mapping[str, Any]],
    earlier: Sequence[Mapping[str, Any]],
    *,
    radius: int,
    least_correlation: float,
) -> list[bool]:
    """Which of the held-out faces were nearer to training in the earlier table."""
    # Loads OpenCV, which a look at the chain alone does not need.
    from selfai_pipeline.pictures.duplicates import have_copies

    nearest: dict[str, int] = {}
    for row in earlier:
        for key in (row["image_id"], row["crop_sha256"]):
            nearest[key] = min(RANKS[row["split"]], nearest.get(key, RANKS[row["split"]]))
    seen = [False] * len(held_out)
    unknown: dict[str, list[int]] = {}
    for number, row in enumerate(held_out):
        known = [nearest[key] for key in (row["image_id"], row["crop_sha256"]) if key in nearest]
        seen[number] = bool(known) and min(known) < RANKS[row["split"]]
        if not known and row["perceptual_hash"] is not None:
            unknown.setdefault(row["split"], []).append(number)
    for split, numbers in unknown.items():
        nearer = [row for row in earlier if RANKS[row["split"]] < RANKS[split]]
        old = [row for row in nearer if row["perceptual_hash"] is not None]
        copies = have_copies(
            [held_out[number]["perceptual_hash"] for number in numbers],
            [held_out[number]["thumbnail"] for number in numbers],
            of_hashes=[row["perceptual_hash"] for row in old],
            of_thumbnails=[row["thumbnail"] for row in old],
            radius=radius,
            least_correlation=least_correlation,
        )
        for number, is_copy in zip(numbers, copies.tolist(), strict=True):
            seen[number] = is_copy
    return seen

"""Which checkpoints learnt from what was removed since: weights cannot be unlearnt, so they are marked."""

from collections.abc import Mapping
from dataclasses import dataclass

from selfai_pipeline.errors import MissingVersion
from selfai_pipeline.sources.tombstones import read_tombstones
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef
from selfai_pipeline.training.checkpoint_records import load_record


@dataclass(frozen=True)
class Mark:
    """A removal that took out what a checkpoint, or one that it was made from, had learnt from.

    Args:
        removal: the name of the removal.
        removed_at: ISO 8601, UTC.
        reason: as it was given.
        asset: of the checkpoint that learnt from it.
        sha256: of that checkpoint.
        pictures: how many pictures by split: `train` (learnt from), `validation` (chosen by), `test`; none
            where the label table was lost already, and nothing told what it had learnt from.
    """

    removal: str
    removed_at: str
    reason: str
    asset: str
    sha256: str
    pictures: Mapping[str, int]

    def __str__(self) -> str:
        if not self.pictures:
            return (
                f"the label table that {self.asset} {self.sha256[:12]} was trained on is lost: nothing tells "
                f"whether it learnt from what removal {self.removal} took out on {self.removed_at[:10]}"
            )
        counts = ", ".join(f"{count} of {split}" for split, count in sorted(self.pictures.items()) if count)
        return (
            f"{self.asset} {self.sha256[:12]} learnt from pictures that removal {self.removal} took out on "
            f"{self.removed_at[:10]} ({counts})"
        )


def removed_inputs(store: Store, ref: CheckpointRef) -> list[Mark]:
    """The removals that a checkpoint is marked by: those of what it or a stage before it learnt from.

    A picture that a stage was only measured on (`test`) is no mark. Empty: no removed data is in it.

    Raises:
        AlteredVersion, InputError: a record of a checkpoint or of a removal is damaged.
    """
    stones = read_tombstones(store)
    if not stones:
        return []
    chain = _chain_of(store, ref)
    return [
        Mark(stone.removal, stone.removed_at, stone.reason, one["asset"], one["sha256"], one["pictures"])
        for stone in stones
        for one in stone.checkpoints
        if one["sha256"] in chain
    ]


def _chain_of(store: Store, ref: CheckpointRef) -> set[str]:
    """The hashes of a checkpoint and of all that it was made from; a stage that is gone ends the chain."""
    assets = list(store.files.list("checkpoints"))
    chain, waiting = set(), [ref.sha256]
    while waiting:
        sha256 = waiting.pop()
        chain.add(sha256)
        for asset in assets:
            if store.files.exists(f"checkpoints/{asset}/{sha256}/record.json"):
                try:
                    record = load_record(CheckpointRef(asset, WHOLE, sha256, 0), store=store)
                except MissingVersion:
                    continue
                parent = (record.get("inputs") or {}).get("parent")
                if parent and parent not in chain:
                    waiting.append(parent)
                break
    return chain

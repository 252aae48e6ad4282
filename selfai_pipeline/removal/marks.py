"""Which checkpoints learnt from what was removed since: weights cannot be unlearnt, so they are marked."""

from selfai_pipeline.errors import MissingVersion
from selfai_pipeline.sources.tombstones import Mark, marks_on, read_tombstones
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef
from selfai_pipeline.training.checkpoint_records import load_record


def removed_inputs(store: Store, ref: CheckpointRef) -> list[Mark]:
    """The removals that a checkpoint is marked by: those of what it or a stage before it learnt from.

    A picture that a stage was only measured on (`test`) is no mark. Empty: no removed data is in it.

    Raises:
        AlteredVersion, InputError: a record of a checkpoint or of a removal is damaged.
    """
    stones = read_tombstones(store)
    return marks_on(*_chain_of(store, ref), stones=stones, store=store) if stones else []


def _chain_of(store: Store, ref: CheckpointRef) -> tuple[set[str], set[str]]:
    """The hashes of a checkpoint and of all that it was made from, and of the label tables of these.

    A stage that is gone ends the chain.
    """
    assets = list(store.files.list("checkpoints"))
    chain, labels, waiting = set(), set(), [ref.sha256]
    while waiting:
        sha256 = waiting.pop()
        chain.add(sha256)
        for asset in assets:
            if store.files.exists(f"checkpoints/{asset}/{sha256}/record.json"):
                try:
                    record = load_record(CheckpointRef(asset, WHOLE, sha256, 0), store=store)
                except MissingVersion:
                    continue
                inputs = record.get("inputs") or {}
                parent = inputs.get("parent")
                labels |= {inputs["labels"]} if inputs.get("labels") else set()
                if parent and parent not in chain:
                    waiting.append(parent)
                break
    return chain, labels

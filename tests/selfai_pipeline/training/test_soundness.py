"""Checks of stored checkpoints find what is wrong with them."""

import numpy as np
import pytest
import torch

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import convolutions, tiny_darknet, with_head
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.checkpoints import folder_of, load_checkpoint, save_checkpoint
from selfai_pipeline.training.settings import ComputeSettings, SiameseSettings, WidenSettings
from selfai_pipeline.training.siamese_stage import pretrain_siamese
from selfai_pipeline.training.soundness import (
    condition_of,
    effective_rank,
    embedding_condition,
    validation_scores,
    widening_deviation,
)
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


def test_a_widening_is_measured_against_what_it_claims_to_be(store: Store, compute: ComputeSettings) -> None:
    narrow, other = saved(store), saved(store, seed=1)
    wide = widen_checkpoint(narrow, store=store, settings=WidenSettings(probe_pictures=2), compute=compute)
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


@pytest.fixture
def siamese(store, labels, compute):
    """Trained long enough to tell discs apart."""
    settings = SiameseSettings(
        input_size=32, width=0.25, batch_size=12, least_steps=8, epochs=6, growth_plan=[]
    )
    return pretrain_siamese(
        labels, store=store, settings=settings, compute=compute, report=lambda epoch, figures: None
    )


def respoiled(store, ref, spoil, **settings):
    """The checkpoint once more, its last convolution changed by `spoil`, `settings` added to its record."""
    checkpoint = load_checkpoint(ref, store=store)
    network = checkpoint.network
    last = network.layer(convolutions(network.stages)[-1].name)
    with torch.no_grad():
        spoil(last)
    taken = ("input_size", "framing", "settings", "inputs", "metrics", "history", "growth")
    record = {name: checkpoint.record[name] for name in taken}
    record["settings"] = {**record["settings"], **settings}
    return save_checkpoint(network, asset=ref.asset, record=record, rows=ref.rows, store=store)


def test_a_trained_embedding_has_not_collapsed(store, siamese, compute):
    found = embedding_condition(siamese, store=store, compute=compute)
    assert found.problems == []
    assert found.probe_pearson > found.chance_pearson


def test_a_checkpoint_with_a_setting_that_is_no_more_is_judged_as_well(store, siamese, compute):
    older = respoiled(store, siamese, lambda _: None, cosine_margin=0.5)
    options = {"store": store, "compute": compute}
    assert embedding_condition(older, **options) == embedding_condition(siamese, **options)


def shrink(layer):
    """All faces on nearly one point: a linear probe, which standardises, does not notice."""
    layer.weight.mul_(1e-6)
    layer.bias.zero_()


def cut_off(layer):
    layer.weight.zero_()


def leave_one_unit(layer):
    layer.weight[1:] = 0.0


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (shrink, "the mean distance is"),
        (cut_off, "reads the same score from every face"),
        (leave_one_unit, "the effective rank is 1.00"),
    ],
)
def test_a_collapsed_embedding_is_found(store, siamese, compute, spoil, problem):
    found = embedding_condition(respoiled(store, siamese, spoil), store=store, compute=compute)
    assert any(problem in text for text in found.problems), found


def test_an_embedding_that_says_nothing_about_scores_is_found(store, siamese, compute, table_of):
    labels = table_of(["validation" if row % 3 == 0 else "train" for row in range(120)])
    rows = store.tables.read(labels).to_pylist()
    scores = np.random.default_rng(0).permutation([row["score"] for row in rows])
    shuffled = store.tables.write(
        [{**row, "score": float(score)} for row, score in zip(rows, scores, strict=True)],
        asset="balanced_label_table",
    )
    checkpoint = load_checkpoint(siamese, store=store)
    record = {**checkpoint.record, "inputs": {"labels": shuffled.sha256}}
    ref = save_checkpoint(checkpoint.network, asset=siamese.asset, record=record, rows=48, store=store)
    (problem,) = embedding_condition(ref, store=store, compute=compute).problems
    assert "shuffled scores reach" in problem


def test_the_effective_rank_counts_the_directions_that_are_used():
    generator = np.random.default_rng(0)
    flat = np.zeros((200, 6))
    assert effective_rank(flat) == 0.0
    flat[:, 0] = generator.normal(size=200)
    assert effective_rank(flat) == pytest.approx(1.0)
    flat[:, 1:3] = generator.normal(size=(200, 2))
    assert effective_rank(flat) == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize(("rows", "judged"), [(84, False), (90, True)])
def test_on_few_faces_chance_is_no_measure(store, siamese, compute, table_of, rows, judged):
    labels = table_of(["validation" if row % 3 == 0 else "train" for row in range(rows)])
    checkpoint = load_checkpoint(siamese, store=store)
    record = {**checkpoint.record, "inputs": {"labels": labels.sha256}}
    ref = save_checkpoint(checkpoint.network, asset=siamese.asset, record=record, rows=48, store=store)
    assert (embedding_condition(ref, store=store, compute=compute).chance_pearson > 0) == judged

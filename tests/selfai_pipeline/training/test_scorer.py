import numpy as np
import pytest
import torch

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet, with_head
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import save_checkpoint
from selfai_pipeline.training.pixels import Framing, load_pixels
from selfai_pipeline.training.scorer import Scorer

RECORD = {"input_size": 32, "settings": {}, "inputs": {}, "metrics": {}, "history": [], "growth": []}


@pytest.fixture
def scorer(store, compute):
    network = Network(with_head(tiny_darknet(0.12)), seed=0)
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(network.head.bias, 4.5)
    ref = save_checkpoint(network, asset="finetuned_scorer", record=RECORD, rows=1, store=store)
    return Scorer.load(ref, store=store, compute=compute)


def crops(n, side=40):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def test_scores_are_float64_one_a_crop(scorer):
    scores = scorer.score(crops(3))
    assert scores.shape == (3,)
    assert scores.dtype == np.float64
    assert len(set(scores)) == 3


def test_a_crop_scores_the_same_alone_and_in_a_large_batch(scorer):
    many = crops(130)
    together = scorer.score(many)
    assert scorer.score(many[129:])[0] == pytest.approx(together[129], abs=1e-4)


def test_a_score_comes_with_its_interval(scorer, store, compute):
    widths = {"faces": 40, "levels": [{"coverage": 0.9, "half_width": 1.25, "reason": ""}]}
    ref = save_checkpoint(
        scorer.network, asset="finetuned_scorer", record={**RECORD, "intervals": widths}, rows=1, store=store
    )
    scores, low, high = Scorer.load(ref, store=store, compute=compute).score_with_interval(crops(3))
    assert scores.tolist() == scorer.score(crops(3)).tolist()
    assert low.tolist() == pytest.approx(np.clip(scores - 1.25, 0, 9).tolist())
    assert high.tolist() == pytest.approx(np.clip(scores + 1.25, 0, 9).tolist())


def test_a_scorer_from_before_there_were_intervals_scores_and_says_that_it_has_none(scorer):
    assert scorer.score(crops(1)).shape == (1,)
    with pytest.raises(UndefinedMetric, match="materialize finetuned_scorer again"):
        scorer.score_with_interval(crops(1))


def test_no_crops_have_no_scores(scorer):
    assert scorer.score(crops(0)).shape == (0,)


def test_serving_prepares_a_crop_exactly_as_training_caches_it(scorer, store, labels):
    full = load_pixels(labels, store=store, framing=Framing(40))
    cached = load_pixels(labels, store=store, framing=scorer.framing)
    prepared = scorer.prepare(scorer.frame(np.array(full[:4])))
    assert torch.equal(prepared, normalise(torch.from_numpy(np.array(cached[:4]))))
    assert prepared.shape == (4, 3, 32, 32)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 8, 8), np.uint8), np.zeros((1, 8, 8, 4), np.uint8), np.zeros((1, 8, 8, 3), np.float32)],
)
def test_what_is_no_batch_of_crops_is_refused(scorer, wrong):
    with pytest.raises(ValueError, match="uint8"):
        scorer.score(wrong)

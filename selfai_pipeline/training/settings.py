"""What can be changed about training; each group is the configuration of one asset."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field

from selfai_pipeline.environment import Settings

SIAMESE_CODE = "5"
WIDEN_CODE = "1"
FINETUNE_CODE = "6"
"""Code versions of the training assets: raised by whoever changes what a stage computes. A recovery point of
another version is not gone on from."""


class Device(StrEnum):
    """`auto` takes a CUDA device where there is one, then Apple's GPU, then the processor."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    """`auto` trains in bfloat16 where the device multiplies it natively. The learning curve is measured in
    the same format; the figures of the finished checkpoint, evaluation and serving are float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class HeadStart(StrEnum):
    """Where the output layer starts: a ridge regression on the embeddings, or the mean score of training."""

    RIDGE = "ridge"
    MEAN = "mean"


class Pairing(StrEnum):
    """What a batch of pre-training learns from: which pairs, and how far apart they should lie.

    `far_classes` pulls pictures of one class together and pushes those `negative_from` classes apart or more
    to a `margin`; near classes are left out. `same_class` is the plain form: pictures of one class, or not;
    on ordered scores it tends to collapse. `growing_margin` pushes any two classes apart, near ones less: the
    margin is in proportion to the classes between them. `rank_n_contrast` asks for distances in the order of
    the scores, and uses no classes.
    """

    FAR_CLASSES = "far_classes"
    SAME_CLASS = "same_class"
    GROWING_MARGIN = "growing_margin"
    RANK_N_CONTRAST = "rank_n_contrast"


class RankDistance(StrEnum):
    """What `rank_n_contrast` measures between embeddings: a mean of differences, or the root of a mean of
    squares."""

    L1 = "l1"
    L2 = "l2"


class Copies(StrEnum):
    """How Net2Net makes copied channels differ, so that the new capacity is used.

    `unequal_shares` splits what leaves a channel unevenly among its copies: exact. `equal_shares` is exact
    too, but copies receive equal gradients and never part. `zeroing_noise` sets a fraction of the copies'
    incoming weights to zero: not exact, and what it moves is measured and recorded.
    """

    UNEQUAL_SHARES = "unequal_shares"
    EQUAL_SHARES = "equal_shares"
    ZEROING_NOISE = "zeroing_noise"


class WhenMoved(StrEnum):
    """What a run does that was begun under other threads, on another device or with another torch, and would
    end with other bits: `refuse` stops and says what differs, `resume` goes on all the same and notes it in
    the record, `restart` trains from the beginning."""

    REFUSE = "refuse"
    RESUME = "resume"
    RESTART = "restart"


class ComputeSettings(Settings):
    """What training and scoring run on."""

    # Two threads stall in each other's barriers when anything else runs on the two cores of a small machine.
    sample: ClassVar[dict[str, Any]] = {"threads": 1}

    device: Device = Field(Device.AUTO, description="Where to compute: auto, cpu, cuda or mps.")
    precision: Precision = Field(
        Precision.AUTO, description="Number format of training: auto, float32 or bfloat16."
    )
    threads: int = Field(0, ge=0, le=1024, description="Threads on the processor; 0 takes all cores.")
    compile: bool = Field(
        False,
        description="Compile training steps with torch.compile; needs a C++ compiler, and gains nothing on "
        "networks of this size.",
    )
    deterministic: bool = Field(
        True,
        description="Refuse operations without a reproducible result. A CPU repeats itself to the bit at the "
        "same number of threads.",
    )
    when_moved: WhenMoved = Field(
        WhenMoved.REFUSE,
        description="What an unfinished run does that was begun under other threads, device, precision or "
        "torch: refuse, resume (the result is then not the same to the bit) or restart.",
    )


class AugmentationSettings(Settings):
    """Random changes of each training picture; every draw is uniform between minus and plus the value."""

    rotation: float = Field(20.0, ge=0, le=180, description="Rotation, degrees.")
    scale: float = Field(0.1, ge=0, lt=1, description="Change of size, as a fraction.")
    shift: float = Field(0.06, ge=0, lt=1, description="Translation, as a fraction of the side.")
    flip: bool = Field(True, description="Mirror half of the pictures.")
    brightness: float = Field(0.2, ge=0, le=1, description="Change of brightness, full scale is 1.")
    contrast: float = Field(0.2, ge=0, lt=1, description="Change of contrast, as a fraction.")
    colour: float = Field(0.2, ge=0, lt=1, description="Change of each colour channel, as a fraction.")


class DrawSettings(AugmentationSettings):
    """How often each picture is drawn, and how it is then changed."""

    balance_power: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Exponent of the label table's draw weights: 1 draws a class first and a picture second, "
        "0 every picture alike; between, rare scores are favoured, but not learnt by heart.",
    )


class SiameseSettings(DrawSettings):
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
    framing: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Central part of an aligned crop that the network sees, as a fraction of its side; crops "
        "are loose, and hair and background take pixels from the face.",
    )
    width: float = Field(1.0, gt=0, le=8, description="Channels relative to Tiny Darknet.")
    epochs: int = Field(
        60, ge=1, le=10_000, description="Epochs; one draws as many pictures as are in training."
    )
    batch_size: int = Field(32, ge=2, le=4096, description="Pictures a step; all their pairs are used.")
    least_steps: int = Field(
        12, ge=1, description="Steps of an epoch at least, so that few pictures are seen often enough."
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Highest learning rate (AdamW).")
    warmup: float = Field(0.1, ge=0, lt=1, description="Fraction of the steps over which the rate rises.")
    weight_decay: float = Field(0.05, ge=0, lt=1, description="Weight decay (AdamW).")
    pairing: Pairing = Field(
        Pairing.RANK_N_CONTRAST,
        description="What is learnt from pairs: far_classes, same_class (tends to collapse), growing_margin "
        "or rank_n_contrast.",
    )
    margin: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="Distance beyond which different pictures cost nothing; not of rank_n_contrast.",
    )
    negative_from: int = Field(
        3,
        ge=1,
        le=9,
        description="far_classes: classes apart from which two pictures count as different; pairs in between "
        "are left out; lowered where a split has no pairs so far apart. growing_margin: classes apart at "
        "which the margin is whole.",
    )
    temperature: float = Field(
        0.2, ge=0.001, le=1000, description="rank_n_contrast: difference of distances that counts as large."
    )
    rank_distance: RankDistance = Field(
        RankDistance.L2, description="rank_n_contrast: distance of two embeddings, l1 or l2."
    )
    growth_plan: list[str] = Field(
        ["wider conv13 1.25", "deeper conv13"],
        description="Net2Net operators, applied one a stall: `wider LAYER FACTOR` or `deeper LAYER`.",
    )
    stall_patience: int = Field(1, ge=1, description="Epochs without enough progress that count as a stall.")
    stall_tolerance: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="Progress that is enough: relative fall of the validation loss (of exp(loss) for ranks).",
    )
    growth_copies: Copies = Field(
        Copies.UNEQUAL_SHARES,
        description="How copied channels are made to differ: unequal_shares, equal_shares (they never do) or "
        "zeroing_noise (not exact).",
    )
    growth_imbalance: float = Field(
        0.5, gt=0, lt=1, description="unequal_shares: how far shares are from equal before they add up to 1."
    )
    growth_zeroed: float = Field(
        0.1, gt=0, lt=1, description="zeroing_noise: fraction of the copies' incoming weights set to zero."
    )


class WidenSettings(Settings):
    """Widening of the pre-trained network; the function stays the same."""

    seed: int = Field(0, ge=0, description="Seed of the copies, their shares and the probe pictures.")
    factor: float = Field(2.0, gt=1, le=8, description="Channels of every layer, relative to before.")
    copies: Copies = Field(
        Copies.UNEQUAL_SHARES,
        description="How copied channels are made to differ: unequal_shares, equal_shares (they never do) or "
        "zeroing_noise (not exact: the network is kept although the function moves).",
    )
    imbalance: float = Field(
        0.5, gt=0, lt=1, description="unequal_shares: how far shares are from equal before they add up to 1."
    )
    zeroed: float = Field(
        0.1, gt=0, lt=1, description="zeroing_noise: fraction of the copies' incoming weights set to zero."
    )
    probe_pictures: int = Field(8, ge=2, le=256, description="Pictures on which sameness is measured.")
    # Not a float: the Launchpad writes 1e-10, which YAML reads as text and Dagster then refuses.
    digits: int = Field(
        10, ge=6, le=15, description="Digits that must stay the same in float64, or the widening is refused."
    )


class FinetuneSettings(DrawSettings):
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
        40, ge=1, le=10_000, description="Epochs; one draws as many pictures as are in training."
    )
    batch_size: int = Field(32, ge=1, le=4096, description="Pictures a step.")
    least_steps: int = Field(
        12, ge=1, description="Steps of an epoch at least, so that few pictures are seen often enough."
    )
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Highest learning rate of the head (AdamW).")
    trunk_rate: float = Field(
        0.3, gt=0, le=1, description="Learning rate of the trunk relative to the head: lower forgets less."
    )
    warmup: float = Field(0.2, ge=0, lt=1, description="Fraction of the steps over which the rate rises.")
    weight_decay: float = Field(0.05, ge=0, lt=1, description="Weight decay (AdamW).")
    huber_delta: float = Field(1.0, gt=0, description="Error, in score points, where the loss turns linear.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout before the output.")
    mirrored: bool = Field(
        True,
        description="Score the mean of a face and its mirror image: scoring works twice, training no more.",
    )
    head_start: HeadStart = Field(
        HeadStart.RIDGE, description="Start of the output layer: ridge on the embeddings, or the mean score."
    )
    averaging: float = Field(
        0.995,
        ge=0,
        lt=1,
        description="Decay a step of the averaged weights that are validated and kept; 0: none.",
    )

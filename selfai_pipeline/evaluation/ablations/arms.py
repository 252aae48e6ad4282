"""The arms of the comparison, as data."""

from dataclasses import dataclass
from enum import StrEnum


class Trunk(StrEnum):
    """What fine-tuning begins with."""

    RANDOM = "random"
    IMAGENET = "imagenet"
    SIAMESE = "siamese"
    GROWN = "siamese, grown by Net2Net"
    WIDE = "random, in the final shape of the whole method"


class Length(StrEnum):
    """How long an arm is fine-tuned."""

    FINE_TUNING = "as long as the whole method's fine-tuning"
    STEPS = "as many steps as the whole method in all"
    WORK = "as much floating-point work as the whole method in all"


@dataclass(frozen=True)
class Arm:
    """One way to make a scorer.

    `share` is the part of the training faces that it learns from, in all stages; `published` is the seed's
    Pearson and hours for it, where it has any.
    """

    name: str
    title: str
    trunk: Trunk
    is_widened: bool = False
    length: Length = Length.FINE_TUNING
    by_group: bool = False
    share: float = 1.0
    published: tuple[float, float] | None = None


WHOLE_METHOD = "siamese_net2net"
ARMS = {
    arm.name: arm
    for arm in (
        Arm("scratch", "From scratch", Trunk.RANDOM, published=(0.68, 13)),
        Arm("imagenet", "From ImageNet", Trunk.IMAGENET, published=(0.73, 3)),
        Arm("siamese", "Siamese pre-training", Trunk.SIAMESE, published=(0.82, 8)),
        Arm(
            WHOLE_METHOD,
            "Siamese pre-training and Net2Net",
            Trunk.GROWN,
            is_widened=True,
            published=(0.84, 5),
        ),
        Arm("teacher_continued", "The same without the last widening", Trunk.GROWN),
        Arm("wide_equal_steps", "Wide from scratch, as many steps", Trunk.WIDE, length=Length.STEPS),
        Arm("wide_equal_work", "Wide from scratch, as much work", Trunk.WIDE, length=Length.WORK),
        Arm(
            "grouped",
            "The whole method, a model for each group",
            Trunk.GROWN,
            is_widened=True,
            by_group=True,
        ),
        *(
            Arm(
                f"share_{parts}",
                f"The whole method, {words} of the training faces",
                Trunk.GROWN,
                is_widened=True,
                share=1 / parts,
            )
            for parts, words in ((8, "an eighth"), (4, "a quarter"), (2, "half"))
        ),
    )
}
"""By name. The first four are the seed's table (2016-17); the others are the controls without which it would
say nothing (what a smaller learning rate, more steps, or the width alone bring), the seed's open question
whether a model a group does better, and its claim that more data is what helps: shares of the training faces,
each inside the next, with as many steps as the whole method takes."""

SHARES = sorted((arm for arm in ARMS.values() if arm.share < 1), key=lambda arm: arm.share)
"""The arms on a part of the training faces, the smallest first."""

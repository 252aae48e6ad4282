"""What a portrait looks like, and how much the simulated crowd likes it: the record behind every picture.

Every attribute is a number from 0 to 1 unless it says otherwise. What the crowd reacts to is drawn
independently of everything else: tone of skin, background, clothing, colour of light say nothing about it.
"""

import math
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np

SCALE_TOP = 9.0


class Group(StrEnum):
    """Where the portrait is set; drawn without regard to anything else."""

    STUDIO = "studio"
    OUTDOOR = "outdoor"


@dataclass(frozen=True)
class Look:
    """What the crowd reacts to; every one of these can be seen in a crop of 64 pixels."""

    smile: float
    """0: corners of the mouth hang; 1: a broad smile that shows the teeth."""
    eye_size: float
    light_softness: float
    """0: hard light from one side; 1: even light."""
    hair_volume: float
    skin_smoothness: float
    """0: blotches, freckles and shadows under the eyes; 1: none."""
    symmetry: float
    brow_arch: float
    face_width: float


@dataclass(frozen=True)
class Setting:
    """What the crowd does not react to."""

    group: Group
    skin_tone: float
    skin_warmth: float
    hair_colour: float
    hair_length: float
    hair_grey: float
    parting: float
    fringe: float
    iris_colour: float
    lip_colour: float
    brow_weight: float
    nose_width: float
    nose_length: float
    lip_fullness: float
    clothing_hue: float
    clothing_value: float
    neckline: float
    background_hue: float
    background_value: float
    light_side: float
    """0: from the left of the picture; 1: from the right."""
    light_height: float
    light_warmth: float
    exposure: float
    turn: float
    """0: the head turns to the left of the picture; 1: to the right; 0.5: straight."""
    roll: float
    offset_x: float
    offset_y: float
    scale: float
    width: float
    """Within the range of widths that the settings allow."""
    aspect: float
    uneven_side: float
    """Which way the irregularities of an asymmetric face lean."""


@dataclass(frozen=True)
class Portrait:
    """A portrait before it is drawn. `texture_seed` fixes strands of hair, freckles and grain."""

    look: Look
    setting: Setting
    texture_seed: int

    @property
    def appeal(self) -> float:
        return appeal_of(self.look)


WEIGHTS = Look(
    smile=0.54,
    eye_size=0.46,
    light_softness=0.44,
    hair_volume=0.44,
    skin_smoothness=0.18,
    symmetry=0.06,
    brow_arch=0.09,
    face_width=0.09,
)
"""Pull of each attribute on the appeal; an oval face of middle width is liked best."""

STEEPNESS = 0.6
"""How far the appeal spreads over the scale: classes 1 to 8 all occur among a few hundred portraits."""


SHARED = 0.25
"""Share of the variance that the attributes of a look have in common."""


def appeal_of(look: Look) -> float:
    """What the crowd as a whole would answer, from 0 to 9 and never at the ends.

    With u the attributes, w their weights and f(u) = sqrt(3) (2u - 1), which has mean 0 and variance 1:

        appeal = 9 / (1 + exp(-0.6 z)),   z = sum w f(u) / |w|

    where face_width enters as 1 - |2u - 1| instead of u. Smooth in every attribute but
    for the top of that one.
    """
    pulls: list[float] = []
    weights: list[float] = []
    for field in fields(look):
        value = float(getattr(look, field.name))
        if field.name == "face_width":
            value = 1 - abs(2 * value - 1)
        weight = float(getattr(WEIGHTS, field.name))
        pulls.append(weight * math.sqrt(3) * (2 * value - 1))
        weights.append(weight)
    z = sum(pulls) / math.hypot(*weights)
    return SCALE_TOP / (1 + math.exp(-STEEPNESS * z))


def draw_portrait_attributes(generator: np.random.Generator) -> Portrait:
    """A portrait with every attribute uniform on 0..1.

    The attributes of the look go together a little, as a photographer's skill or a good day makes them (a
    Gaussian copula: every two correlate by about a quarter); those of the setting are independent of
    everything.
    """
    occasion = generator.standard_normal()
    own = generator.standard_normal(len(fields(Look)))
    together = math.sqrt(SHARED) * occasion + math.sqrt(1 - SHARED) * own
    uniform = [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in together.tolist()]
    look = Look(*uniform)
    group = Group.STUDIO if generator.random() < 0.5 else Group.OUTDOOR
    names = [field.name for field in fields(Setting) if field.name != "group"]
    setting = Setting(group=group, **{name: float(generator.random()) for name in names})
    return Portrait(look=look, setting=setting, texture_seed=int(generator.integers(2**31)))

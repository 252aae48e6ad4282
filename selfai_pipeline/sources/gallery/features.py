"""Eyes, brows, nose, mouth and ears, drawn on a shaded head."""

from dataclasses import dataclass

import numpy as np

from selfai_pipeline.sources.gallery.attributes import Portrait
from selfai_pipeline.sources.gallery.canvas import Canvas, Pixels, Points, ellipse, mix, rgb, spline

IRIS_COLOURS = (rgb(62, 40, 26), rgb(98, 66, 38), rgb(112, 108, 62), rgb(86, 118, 108), rgb(92, 128, 166))


@dataclass(frozen=True)
class Anatomy:
    """Where the features lie, in face units; the drawn landmarks follow from it."""

    shift: float
    """Sideways displacement of the features by the turn of the head."""
    eyes: tuple[tuple[float, float], tuple[float, float]]
    """Middle of the eye at the left of the picture, and of the other."""
    eye_width: float
    """Half the width of an eye."""
    eye_opening: tuple[float, float]
    nose: tuple[float, float]
    mouth: tuple[float, float]
    mouth_width: float
    """Half the width of the mouth."""
    corner_lift: float
    """How far the corners of the mouth lie above its middle."""
    mouth_tilt: float

    @classmethod
    def of(cls, portrait: Portrait) -> "Anatomy":
        look, setting = portrait.look, portrait.setting
        lean = (1 - look.symmetry) * (1 if setting.uneven_side > 0.5 else -1)
        shift = 0.16 * (setting.turn - 0.5)
        eye_x = 0.395 + 0.03 * (look.face_width - 0.5)
        opening = 0.055 + 0.098 * look.eye_size
        return cls(
            shift=shift,
            eyes=((-eye_x + shift, 0.035 * lean), (eye_x + shift, -0.035 * lean)),
            eye_width=0.160 + 0.075 * look.eye_size,
            eye_opening=(opening * (1 - 0.13 * lean), opening * (1 + 0.13 * lean)),
            nose=(1.5 * shift + 0.03 * lean, 0.40 + 0.08 * (setting.nose_length - 0.5)),
            mouth=(shift + 0.02 * lean, 0.775 + 0.05 * (setting.nose_length - 0.5)),
            mouth_width=0.255 + 0.125 * look.smile,
            corner_lift=-0.055 + 0.155 * look.smile,
            mouth_tilt=0.09 * lean,
        )

    @property
    def mouth_corners(self) -> Points:
        x, y = self.mouth
        rise = self.corner_lift
        return np.array(
            [
                [x - self.mouth_width, y - rise - self.mouth_tilt * self.mouth_width],
                [x + self.mouth_width, y - rise + self.mouth_tilt * self.mouth_width],
            ]
        )


def draw_eyes(canvas: Canvas, portrait: Portrait, anatomy: Anatomy, *, skin: Pixels, lash: Pixels) -> None:
    """Both eyes: socket, white, iris, pupil, lids, lashes and the reflection of the lamp."""
    setting = portrait.setting
    place = setting.iris_colour * (len(IRIS_COLOURS) - 1)
    first = min(int(place), len(IRIS_COLOURS) - 2)
    iris = mix(IRIS_COLOURS[first], IRIS_COLOURS[first + 1], place - first)
    lamp_x = 0.05 if setting.light_side > 0.5 else -0.05
    for side, (x, y), opening in zip((-1, 1), anatomy.eyes, anatomy.eye_opening, strict=True):
        width = anatomy.eye_width
        along = np.linspace(-1, 1, 25)
        # The outer corner lies a little higher than the inner one.
        axis = y - 0.018 * along * side
        peak = along + 0.12 * side
        upper = axis - opening * np.clip(1 - peak**2 * 0.93, 0, None) ** 0.75
        lower = axis + 0.62 * opening * np.clip(1 - along**2, 0, None) ** 0.8
        upper[[0, -1]] = axis[[0, -1]]
        across = x + width * along
        outline = np.vstack([np.stack([across, upper], 1), np.stack([across, lower], 1)[::-1]])
        canvas.shade(
            canvas.region(ellipse(x, y - 0.04, width * 1.25, 0.15 + 0.3 * opening), softness=0.07),
            0.80 * np.ones(3, np.float32),
        )
        white = canvas.region(outline)
        canvas.paint(white, mix(rgb(236, 230, 224), skin, 0.12))
        radius = 0.066 + 0.066 * portrait.look.eye_size
        centre = (x + 0.25 * anatomy.shift, y - 0.13 * opening)
        canvas.paint(canvas.region(ellipse(*centre, radius, radius), clip=white), iris * np.float32(0.55))
        canvas.paint(
            canvas.region(ellipse(*centre, radius * 0.84, radius * 0.84), softness=0.012, clip=white), iris
        )
        canvas.light(
            canvas.region(
                ellipse(centre[0] - lamp_x * 0.6, centre[1] + 0.03, radius * 0.55, radius * 0.4),
                softness=0.02,
                clip=white,
            ),
            iris * np.float32(0.5),
        )
        canvas.paint(
            canvas.region(ellipse(*centre, radius * 0.43, radius * 0.43), clip=white), rgb(12, 10, 10)
        )
        lid = np.stack([across, upper], 1)
        canvas.shade(canvas.line(lid + np.array([0, 0.02]), width=0.05, softness=0.014, clip=white), 0.55)
        canvas.paint(
            canvas.region(ellipse(centre[0] + lamp_x * 0.5, centre[1] - 0.032, 0.020, 0.020), clip=white),
            rgb(255, 252, 246),
        )
        outer = lid[4:] if side > 0 else lid[:-4]
        canvas.paint(canvas.line(lid, width=0.020), lash, opacity=0.9)
        tip = lid[-1:] if side > 0 else lid[:1]
        wing = np.vstack([tip, tip + np.array([0.035 * side, -0.022])])
        canvas.paint(
            canvas.line(outer + np.array([0, -0.010]), width=0.026, softness=0.006), lash, opacity=0.75
        )
        canvas.paint(canvas.line(wing, width=0.018, softness=0.006), lash, opacity=0.6)
        crease = np.stack([across, upper - 0.042 - 0.25 * (opening - 0.06)], 1)[2:-2]
        canvas.shade(canvas.line(crease, width=0.016, softness=0.012), 0.60)
        canvas.shade(canvas.line(np.stack([across, lower], 1)[2:-2], width=0.014, softness=0.008), 0.62)
        bag = np.stack([across, axis + 0.10 + 0.045 * (1 - along**2)], 1)[3:-3]
        tired = 1 - portrait.look.skin_smoothness
        canvas.shade(canvas.line(bag, width=0.06, softness=0.03), 1 - 0.07 - 0.33 * tired)


def draw_brows(
    canvas: Canvas, portrait: Portrait, anatomy: Anatomy, generator: np.random.Generator, *, colour: Pixels
) -> None:
    """Both brows, from single hairs over a soft band; the arch follows the attribute."""
    arch = 0.02 + 0.10 * portrait.look.brow_arch
    weight = 0.030 + 0.022 * portrait.setting.brow_weight
    for side, (x, y) in zip((-1, 1), anatomy.eyes, strict=True):
        top = y - 0.205 - 0.05 * portrait.look.eye_size
        knots = [
            [x - side * 0.225, top + 0.035],
            [x - side * 0.06, top - 0.45 * arch],
            [x + side * 0.10, top - arch],
            [x + side * 0.265, top + 0.045 - 0.1 * arch],
        ]
        path = spline(knots, closed=False)
        taper = np.interp(np.linspace(0, 1, len(path)), [0, 0.12, 0.6, 1], [0.55, 1, 0.85, 0.12])
        thick = np.stack([np.zeros_like(taper), taper * weight], axis=1)
        band = np.vstack([path - thick, (path + thick)[::-1]])
        canvas.paint(canvas.region(band, softness=0.016), colour, opacity=0.72)
        for tone in (0.6, 0.85, 1.1):
            hairs = []
            for _ in range(9):
                at = int(generator.integers(len(path)))
                x_foot, y_foot = path[at, 0], path[at, 1] + generator.uniform(-0.6, 0.9) * weight * taper[at]
                x_tip = x_foot + side * generator.uniform(0.03, 0.06)
                hairs.append([[x_foot, y_foot], [x_tip, y_foot - generator.uniform(0.005, 0.035)]])
            canvas.paint(canvas.line(*hairs, width=0.008), colour * np.float32(tone), opacity=0.55)


def draw_nose(canvas: Canvas, portrait: Portrait, anatomy: Anatomy) -> None:
    """Nostrils, wings, and the shadow below; the relief has shaded the bridge already."""
    x, y = anatomy.nose
    half = 0.125 + 0.05 * portrait.setting.nose_width
    canvas.shade(canvas.region(ellipse(x, y + 0.125, half * 0.95, 0.045), softness=0.035), 0.70)
    for side in (-1, 1):
        nostril = spline(
            [
                [x + side * 0.035, y + 0.083],
                [x + side * 0.075, y + 0.062],
                [x + side * (half - 0.025), y + 0.082],
                [x + side * 0.07, y + 0.100],
            ],
            closed=True,
        )
        canvas.shade(canvas.region(nostril, softness=0.009), 0.30)
        wing = spline(
            [
                [x + side * (half - 0.015), y - 0.035],
                [x + side * half, y + 0.035],
                [x + side * (half - 0.03), y + 0.095],
            ],
            closed=False,
        )
        canvas.shade(canvas.line(wing, width=0.016, softness=0.012), 0.62)


def draw_mouth(canvas: Canvas, portrait: Portrait, anatomy: Anatomy, *, skin: Pixels) -> None:
    """Lips, teeth where the smile is broad, corners, and the folds that a smile draws beside them."""
    look, setting = portrait.look, portrait.setting
    x, y = anatomy.mouth
    half, lift = anatomy.mouth_width, anatomy.corner_lift
    along = np.linspace(-1, 1, 31)
    across = x + half * along
    tilt = anatomy.mouth_tilt * half * along
    seam = y - lift * np.abs(along) ** 1.7 + tilt
    fade = np.clip(1 - along**2, 0, None)
    fullness = 0.7 + 0.6 * setting.lip_fullness
    bow = 0.016 * np.exp(-((along / 0.12) ** 2))
    opening = 0.105 * np.clip((look.smile - 0.45) / 0.55, 0, 1) * fade**0.8
    upper_edge = seam - (0.062 * fullness * fade**0.7 * (1 - 0.25 * look.smile)) + bow * fullness
    lower_edge = seam + opening + 0.088 * fullness * fade**0.85
    lip = mix(
        skin * np.array([0.86, 0.58, 0.56], np.float32), rgb(176, 58, 66), 0.10 + 0.45 * setting.lip_colour
    )
    upper_line, seam_line = np.stack([across, upper_edge], 1), np.stack([across, seam], 1)
    lower_seam, lower_line = np.stack([across, seam + opening], 1), np.stack([across, lower_edge], 1)
    outline = np.vstack([upper_line, lower_line[::-1]])
    canvas.paint(canvas.region(outline, softness=0.007), lip)
    canvas.shade(canvas.region(np.vstack([upper_line, seam_line[::-1]]), softness=0.008), 0.86)
    gloss = np.stack([across, (seam + opening + 2 * lower_edge) / 3], 1)[9:-9]
    canvas.light(canvas.line(gloss, width=0.03, softness=0.02), lip * np.float32(0.22))
    if opening.max() > 0.008:
        inside = canvas.region(np.vstack([seam_line, lower_seam[::-1]]), softness=0.004)
        canvas.paint(inside, rgb(70, 26, 28))
        teeth = np.vstack(
            [seam_line + np.array([0, 0.002]), (seam_line + np.stack([0 * opening, opening * 0.82], 1))[::-1]]
        )
        canvas.paint(canvas.region(teeth, softness=0.006, clip=inside), rgb(238, 234, 224), opacity=0.96)
        for tooth in np.linspace(-0.6, 0.6, 9):
            at = x + half * tooth
            level = y - lift * abs(tooth) ** 1.7 + anatomy.mouth_tilt * half * tooth
            gap = np.array([[at, level], [at, level + 0.09]])
            canvas.shade(canvas.line(gap, width=0.006, softness=0.004, clip=inside), 0.86)
    canvas.shade(canvas.line(seam_line, width=0.014, softness=0.007), 0.42)
    for side, corner in zip((-1, 1), anatomy.mouth_corners, strict=True):
        canvas.shade(canvas.region(ellipse(corner[0], corner[1], 0.028, 0.022), softness=0.016), 0.60)
        fold = spline(
            [
                [anatomy.nose[0] + side * 0.19, anatomy.nose[1] + 0.03],
                [
                    (anatomy.nose[0] + side * 0.27 + corner[0]) / 2 + side * 0.06,
                    (anatomy.nose[1] + corner[1]) / 2 + 0.03,
                ],
                [corner[0] + side * 0.075, corner[1] + 0.03],
            ],
            closed=False,
        )
        canvas.shade(canvas.line(fold, width=0.022, softness=0.018), 1 - 0.10 - 0.32 * look.smile)
    canvas.shade(canvas.region(ellipse(x, float(lower_edge.max()) + 0.045, 0.15, 0.03), softness=0.03), 0.84)


def draw_ears(canvas: Canvas, half_width: float, *, skin: Pixels, shift: float) -> None:
    """Both ears, to be half covered by the head."""
    for side in (-1, 1):
        x = side * (half_width + 0.015) - 0.5 * shift
        outline = spline(
            [
                [x - side * 0.08, -0.10],
                [x + side * 0.075, -0.15],
                [x + side * 0.105, 0.03],
                [x + side * 0.055, 0.24],
                [x - side * 0.03, 0.36],
                [x - side * 0.10, 0.30],
            ],
            closed=True,
        )
        canvas.paint(canvas.region(outline, softness=0.006), skin * np.float32(0.92))
        inner = spline(
            [[x + side * 0.03, -0.07], [x + side * 0.055, 0.04], [x + side * 0.005, 0.2]], closed=False
        )
        canvas.shade(canvas.line(inner, width=0.035, softness=0.02), 0.70)

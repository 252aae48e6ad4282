"""Faces and maps as small images that a page can carry inside."""

import base64

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import AlteredVersion
from selfai_pipeline.picture_store import PictureStore

Pixels = npt.NDArray[np.uint8]

HEAT = matplotlib.colormaps["inferno"]
"""Lightness rises evenly, so that it reads the same without colour vision and in print."""


def load_crop(sha256: str, crops: PictureStore) -> Pixels:
    """A stored crop, [s, s, 3] RGB.

    Raises:
        MissingVersion, AlteredVersion: it is missing, was altered, or is no picture.
    """
    picture = cv2.imdecode(np.frombuffer(crops.get(sha256), np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        # The whole hash: a removal takes it out of logs, and would not know the beginning of it.
        raise AlteredVersion(
            f"crop {sha256}: not a picture. Materialize aligned_faces and the label table again."
        )
    return np.asarray(picture, np.uint8)


def jpeg(picture: npt.NDArray[np.generic], *, side: int) -> bytes:
    """A square RGB picture [s, s, 3], values 0..255, as a JPEG of `side` pixels."""
    method = cv2.INTER_AREA if picture.shape[0] >= side else cv2.INTER_CUBIC
    resized = cv2.resize(np.asarray(picture, np.float32), (side, side), interpolation=method)
    whole = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    written, content = cv2.imencode(
        ".jpg", cv2.cvtColor(whole, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85]
    )
    if not written:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return bytes(content)


def data_address(content: bytes, kind: str) -> str:
    """A `data:` address with the bytes in it; `kind` is the media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def heat_over(face: Pixels, heat: npt.NDArray[np.float64], *, largest: float) -> npt.NDArray[np.float64]:
    """`heat` [h, w] in colour over the grey face [s, s, 3]; nothing covers the face where it is 0.

    Args:
        largest: the value that gets the brightest colour.

    Returns:
        [s, s, 3], 0..255.
    """
    side = face.shape[0]
    smooth = cv2.resize(np.asarray(heat, np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    strength = np.clip(smooth / largest, 0, 1) if largest > 0 else np.zeros_like(smooth)
    grey = np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float64), 3, axis=2)
    colour = np.asarray(HEAT(strength))[:, :, :3] * 255
    opacity = 0.75 * strength[:, :, None]
    return np.asarray(grey * (1 - opacity) + colour * opacity)


def heat_scale(steps: int = 9) -> list[str]:
    """Colours of the heat from 0 to the largest value over mid grey, `#rrggbb`: a legend for `heat_over`."""
    grey = np.full((1, steps, 3), 128, np.uint8)
    over = heat_over(np.repeat(grey, steps, axis=0), np.tile(np.linspace(0, 1, steps), (steps, 1)), largest=1)
    return ["#" + "".join(f"{round(value):02x}" for value in pixel) for pixel in over[0]]


PLACES = (
    ("upper left", "upper middle", "upper right"),
    ("left side", "centre", "right side"),
    ("lower left", "lower middle", "lower right"),
)


def strongest_place(heat: npt.NDArray[np.float64]) -> str:
    """Where in the picture a map [h, w] is strongest, in words: the alternative to seeing it."""
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    return PLACES[int(3 * row // heat.shape[0])][int(3 * column // heat.shape[1])]

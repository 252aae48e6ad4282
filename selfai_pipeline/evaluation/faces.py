"""The faces of the report: galleries and occlusion maps of the test split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfai_pipeline.evaluation.correlation import Reals
from selfai_pipeline.evaluation.galleries import (
    highest_and_lowest,
    middle,
    spread_evenly,
    worst_errors,
)
from selfai_pipeline.evaluation.images import (
    Pixels,
    data_address,
    heat_over,
    heat_scale,
    jpeg,
    load_crop,
    strongest_place,
)
from selfai_pipeline.evaluation.occlusion import occlusion_maps, patch_and_stride
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.evaluation.words import count, number
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.training.pixels import resize_crop
from selfai_pipeline.training.scorer import Scorer

Face = Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """A picture with a caption of a few lines; `alternative` says what it shows."""

    address: str
    alternative: str
    caption: list[str]


@dataclass(frozen=True)
class Row:
    """Cards that belong together, under a title."""

    title: str
    cards: list[Card]


@dataclass(frozen=True)
class OcclusionMaps:
    """Maps of single faces and the mean map.

    `largest` and `mean_largest` are the changes, in points, that the brightest colour stands for;
    `patch` and `stride` are shares of the side; `scale` is the legend's colours.
    """

    rows: list[Row]
    mean: Card | None
    largest: float
    mean_largest: float
    patch: float
    stride: float
    scale: list[str]


def galleries_of(faces: Sequence[Face], *, crops: PictureStore, settings: EvaluationSettings) -> list[Row]:
    """Top, bottom and worst-error galleries of test faces (rows of the evaluation table); empty where off."""
    annotated, predicted = _scores(faces)
    most = settings.gallery_faces
    highest, lowest = highest_and_lowest(predicted, most)
    galleries = {
        "Highest scores by the model": highest,
        "Lowest scores by the model": lowest,
        "Largest errors": worst_errors(annotated, predicted, most),
    }
    return [
        Row(title, [_gallery_card(faces[row], crops, settings.gallery_side) for row in rows])
        for title, rows in galleries.items()
        if len(rows)
    ]


def occlusion_of(
    faces: Sequence[Face], *, scorer: Scorer, crops: PictureStore, settings: EvaluationSettings
) -> OcclusionMaps | None:
    """Occlusion maps of high, middle and low scored faces and the mean map; None where both are off.

    One batched pass serves all: a face that is shown and in the mean is computed once.
    """
    _, predicted = _scores(faces)
    shown = min(settings.occlusion_faces, max(1, len(faces) // 3))
    high, low = highest_and_lowest(predicted, shown)
    groups = {
        "High scores": high,
        "Middle scores": middle(predicted, shown if len(faces) >= 3 else 0),
        "Low scores": low[::-1],
    }
    averaged = spread_evenly(predicted, settings.occlusion_mean_faces)
    needed = np.unique(np.concatenate([*groups.values(), averaged]))
    if not len(needed):
        return None
    pictures = np.stack([scorer.framing(load_crop(faces[row]["crop_sha256"], crops)) for row in needed])
    patch, stride = patch_and_stride(
        scorer.input_size, patch=settings.occlusion_patch, stride=settings.occlusion_stride
    )
    with scorer.compute.session():
        maps = occlusion_maps(
            scorer.network,
            scorer.prepare(pictures),
            patch=patch,
            stride=stride,
            batch_size=settings.batch_size,
        )
    of_face = dict(zip(needed.tolist(), maps, strict=True))
    seen = dict(zip(needed.tolist(), pictures, strict=True))
    visible = {int(row) for rows in groups.values() for row in rows}
    largest = max((float(of_face[row].max()) for row in visible), default=0.0)
    inside = np.isin(needed, averaged)
    return OcclusionMaps(
        rows=[
            Row(
                title,
                [_map_card(faces[row], seen[int(row)], of_face[int(row)], largest, settings) for row in rows],
            )
            for title, rows in groups.items()
            if len(rows)
        ],
        mean=_mean_card(pictures[inside], maps[inside], settings) if inside.any() else None,
        largest=largest,
        mean_largest=float(maps[inside].mean(axis=0).max()) if inside.any() else 0.0,
        patch=patch / scorer.input_size,
        stride=stride / scorer.input_size,
        scale=heat_scale(),
    )


def _gallery_card(face: Face, crops: PictureStore, side: int) -> Card:
    crowd, model = number(face["score"], 1), number(face["predicted"], 1)
    return Card(
        data_address(jpeg(_square(face, crops, side), side=side), "image/jpeg"),
        f"Face of the test split, scored {crowd} by the crowd and {model} by the model",
        [f"model {model}", *_interval(face), f"crowd {crowd}{_uncertainty(face)}"],
    )


def _map_card(face: Face, seen: Pixels, heat: Reals, largest: float, settings: EvaluationSettings) -> Card:
    """`seen` is what the network sees of the face, [size, size, 3]."""
    side = settings.gallery_side
    model, change = number(face["predicted"], 1), number(float(heat.max()))
    return Card(
        data_address(
            jpeg(heat_over(resize_crop(seen, side), heat, largest=largest), side=side), "image/jpeg"
        ),
        f"Occlusion map of a face scored {model} by the model: hiding the {strongest_place(heat)} changes "
        f"the score most, by {change} points",
        [f"model {model}", f"up to {change}", f"at the {strongest_place(heat)}"],
    )


def _mean_card(pictures: Pixels, maps: Reals, settings: EvaluationSettings) -> Card:
    heat = maps.mean(axis=0)
    face = np.rint(pictures.mean(axis=0)).astype(np.uint8)
    side = 2 * settings.gallery_side
    change = number(float(heat.max()))
    return Card(
        data_address(
            jpeg(heat_over(resize_crop(face, side), heat, largest=float(heat.max())), side=side), "image/jpeg"
        ),
        f"Mean occlusion map over the mean of {count(len(maps), 'aligned face')}: hiding the "
        f"{strongest_place(heat)} changes scores most, by {change} points on average",
        [f"mean of {count(len(maps), 'test face')}", f"up to {change} points at the {strongest_place(heat)}"],
    )


def _scores(faces: Sequence[Face]) -> tuple[Reals, Reals]:
    """Annotated and predicted scores, [n] each."""
    return (
        np.array([face["score"] for face in faces], np.float64),
        np.array([face["predicted"] for face in faces], np.float64),
    )


def _interval(face: Face) -> list[str]:
    """A line with the interval of the model's score; none where there is none."""
    if face["low"] is None:
        return []
    return [f"{number(face['low'], 1)} to {number(face['high'], 1)}"]


def _uncertainty(face: Face) -> str:
    error = face["standard_error"]
    return "" if error is None else f" ± {number(error, 1)}"


def _square(face: Face, crops: PictureStore, side: int) -> Pixels:
    return resize_crop(load_crop(face["crop_sha256"], crops), side)

"""How a stage of training went, in plain words from its recorded settings, with the exact values beside.

A value that a record lacks, as it was made before there was such a setting, is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfai_pipeline.evaluation.words import count
from selfai_pipeline.training.settings import Copies, Pairing

Settings = Mapping[str, Any]

PAIRINGS: Mapping[str, tuple[str, Sequence[str]]] = {
    Pairing.RANK_N_CONTRAST: (
        "the more the scores of two faces differ, the further apart it is to place them",
        ("temperature", "rank_distance"),
    ),
    Pairing.FAR_CLASSES: (
        "faces with scores of one class are pulled together, those with scores far apart are pushed apart, "
        "and pairs in between are left out",
        ("margin", "negative_from"),
    ),
    Pairing.SAME_CLASS: (
        "faces with scores of one class are pulled together, all others are pushed apart",
        ("margin",),
    ),
    Pairing.GROWING_MARGIN: (
        "faces with scores of one class are pulled together, others are pushed apart, the further the more "
        "their scores differ",
        ("margin", "negative_from"),
    ),
}
"""What each pairing asks for, and the settings that it reads."""


def stage_in_words(stage: Mapping[str, Any]) -> str:
    """A stage as `Recorded.stages` has it: what it did, then how long and from which seed."""
    words = STAGES.get(stage["asset"])
    sentences = words(stage) if words else [stage["asset"]]
    ran = [count(stage["epochs"], "epoch")] if stage["epochs"] else []
    ran += _values(stage["settings"], "batch_size", "learning_rate", "trunk_rate", "seed")
    return ". ".join([*sentences, *([", ".join(ran)] if ran else [])]) + "."


def _pretraining(stage: Mapping[str, Any]) -> list[str]:
    settings = stage["settings"]
    sentence = "Siamese pre-training: the network learns to compare pairs of faces"
    if "pairing" in settings:
        meaning, names = PAIRINGS.get(settings["pairing"], ("", ()))
        sentence += f"; {meaning}" if meaning else ""
        sentence += _beside(settings, "pairing", *names)
    return [sentence, *_draws(settings), *_growth(stage)]


def _widening(stage: Mapping[str, Any]) -> list[str]:
    settings = stage["settings"]
    same = "nearly the same" if settings.get("copies") == Copies.ZEROING_NOISE else "the same"
    times = f"{settings['factor']} times as many" if "factor" in settings else "more"
    sentence = f"Widening: every layer gets {times} channels, and the network computes {same} as before"
    return [sentence + _beside(settings, "factor", "copies")]


def _fine_tuning(stage: Mapping[str, Any]) -> list[str]:
    settings = stage["settings"]
    sentences = ["Fine-tuning: the network learns the crowd's scores"]
    if "huber_delta" in settings:
        delta = settings["huber_delta"]
        sentences[0] += (
            f"; an error counts with its square up to {delta} points, and beyond in proportion, so that a "
            f"single score far off does not decide (Huber loss, `huber_delta` {delta})"
        )
    sentences += _draws(settings)
    if dropout := settings.get("dropout"):
        sentences.append(
            "In each step a part of the features that the score is read from, drawn by lot, is left out, "
            f"against learning faces by heart (`dropout` {dropout})"
        )
    elif dropout is not None:
        sentences.append(f"No feature is left out in training (`dropout` {dropout})")
    return sentences


STAGES: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "siamese_checkpoint": _pretraining,
    "widened_checkpoint": _widening,
    "finetuned_scorer": _fine_tuning,
}


def _draws(settings: Settings) -> list[str]:
    """How often faces with rare scores are seen."""
    power = settings.get("balance_power")
    if power is None:
        return []
    if power == 0:
        sentence = "Every face is drawn equally often, so that common scores are seen most"
    elif power == 1:
        sentence = (
            "Faces with rare scores are drawn so often that rare scores are seen as often as common ones"
        )
    else:
        sentence = "Faces with rare scores are drawn more often than others, but still seen less in all"
    return [f"{sentence} (`balance_power` {power})"]


def _growth(stage: Mapping[str, Any]) -> list[str]:
    """What Net2Net did to the network, and what of the plan training did not come to."""
    done, plan = stage["growth"], stage["settings"].get("growth_plan")
    if not done and plan is None:
        return []
    if not done and not plan:
        return ["The network kept its shape, as planned"]
    missed = ", ".join(f"`{operator}`" for operator in (plan or [])[len(done) :])
    if not done:
        return [f"The network was not made larger: training did not stall before its end (planned: {missed})"]
    operators = ", ".join(f"`{operator}`" for operator in done)
    sentence = f"Where progress stalled, the network was made larger (Net2Net): {operators}"
    return [sentence + (f"; training ended before {missed}" if missed else "")]


def _beside(settings: Settings, *names: str) -> str:
    values = _values(settings, *names)
    return f" ({', '.join(values)})" if values else ""


def _values(settings: Settings, *names: str) -> list[str]:
    return [f"`{name}` {settings[name]}" for name in names if name in settings]

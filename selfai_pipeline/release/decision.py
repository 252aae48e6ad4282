"""Whether a scorer may become the champion: the rule, as a pure function of what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfai_pipeline.evaluation.words import count, interval_in_words, number, percent, value_in_words
from selfai_pipeline.release.comparison import Comparison, SubgroupComparison
from selfai_pipeline.release.settings import PromotionSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef

RemovedInputs = Callable[[Store, CheckpointRef], Sequence[object]]
"""What a checkpoint, or a stage of the chain behind it, has learnt from and was removed since; `str` of each
says it in a clause."""


@dataclass(frozen=True)
class Decision:
    """What speaks for and against a candidate, a sentence each.

    `against` may be overridden by a person with a reason, `forbidden` by nobody.
    """

    finding: str
    against: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        return not (self.against or self.forbidden)

    @property
    def text(self) -> str:
        return " ".join([self.finding, *self.forbidden, *self.against])


def decide(
    comparison: Comparison,
    *,
    removed: Sequence[object],
    removed_from_champion: Sequence[object] = (),
    settings: PromotionSettings,
) -> Decision:
    """The rule: better than the champion, no subgroup worse by more than the margins, no removed data.

    Better means that the interval of the difference in Pearson lies above `least_gain`; the first champion
    has to correlate above zero in the same sense.

    Args:
        removed: what the candidate has learnt from and was removed since; see `RemovedInputs`.
        removed_from_champion: the same of the champion: it makes no candidate better, and is said.
    """
    found = finding(comparison)
    if removed_from_champion:
        found += f" The champion itself has removed data in it: {removed_from_champion[0]}."
    return Decision(
        found,
        against=(*_not_better(comparison, settings), *_worse_subgroups(comparison, settings)),
        forbidden=tuple(f"Removed data is in it: {one}." for one in removed),
    )


def finding(comparison: Comparison) -> str:
    """What was measured, in a sentence or two."""
    faces = count(comparison.faces, "test face").replace("\N{NO-BREAK SPACE}", " ")
    sure = percent(comparison.confidence).replace("\N{NO-BREAK SPACE}", " ")
    difference = comparison.difference.to_dict()
    interval = (
        f" ({sure} interval {interval_in_words(difference, 3, signed=bool(comparison.champion))})"
        if comparison.difference.low is not None
        else ""
    )
    if not comparison.champion:
        text = (
            f"There is no other champion to compare it with. Pearson {value_in_words(difference, 3)} on "
            f"{faces}{interval}."
        )
    else:
        text = (
            f"Against champion {comparison.champion[:12]}: Pearson {_words(comparison.pearson.candidate)} "
            f"and {_words(comparison.pearson.champion)} on the same {faces}, difference "
            f"{value_in_words(difference, 3, signed=True)}{interval}."
        )
    left_out = {"it": comparison.seen_by_candidate, "the champion": comparison.seen_by_champion}
    for whose, faces_seen in left_out.items():
        if faces_seen:
            text += f" Left out: {faces_seen} of {comparison.test_faces} that {whose} has seen in training."
    return text


def _words(value: float | None) -> str:
    return "not defined" if value is None else number(value, 3)


def _not_better(comparison: Comparison, settings: PromotionSettings) -> list[str]:
    difference, least = comparison.difference, settings.least_gain
    if difference.value is None:
        return [f"The correlation is not defined: {difference.why_no_value}."]
    if difference.low is None:
        return [f"Nothing shows that it is better: there is no interval, {difference.why_no_interval}."]
    if difference.low > least:
        return []
    if not comparison.champion:
        return [f"Its correlation is not shown to be above {number(least, 2)}."]
    return [f"It is not shown to be better: the interval has to lie above {number(least, 2)}."]


def _worse_subgroups(comparison: Comparison, settings: PromotionSettings) -> list[str]:
    if not comparison.champion:
        return []
    return [
        f"In subgroup {one.group!r} ({one.faces} faces) {worse}."
        for one in comparison.subgroups
        if one.faces >= settings.subgroup_least_faces
        for worse in _worse(one, settings)
    ]


def _worse(one: SubgroupComparison, settings: PromotionSettings) -> list[str]:
    """What became worse in a subgroup by more than its margin."""
    found = []
    gain = one.pearson.gain
    if one.pearson.candidate is None and one.pearson.champion is not None:
        found.append(f"Pearson was {_words(one.pearson.champion)} and is not defined any more")
    if gain is not None and gain < -settings.subgroup_margin:
        found.append(
            f"Pearson falls by {number(-gain, 3)} to {_words(one.pearson.candidate)}, "
            f"{number(settings.subgroup_margin, 3)} is the margin"
        )
    if one.bias.candidate is not None and one.bias.champion is not None:
        growth = abs(one.bias.candidate) - abs(one.bias.champion)
        if growth > settings.subgroup_bias_margin:
            found.append(
                f"the bias grows by {number(growth)} points to {number(one.bias.candidate, signed=True)}, "
                f"{number(settings.subgroup_bias_margin)} is the margin"
            )
    return found

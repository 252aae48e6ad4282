"""Whether a day's faces are unlike the template or those of the days before, by more than chance explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CHANCE = 0.001
"""How rarely chance alone may look like a change: once in a thousand days."""

LEAST_DROP, LEAST_SHIFT = 0.02, 0.2
"""What is worth a look: two of a hundred pictures more without a face; a fifth of the faces laid worse."""

FEW = 20
"""Below so many pictures or faces, on this day or on all earlier ones together, nothing is said."""


@dataclass(frozen=True)
class Comparison:
    """Whether a day is `unusual`, in words what was compared, and the figures behind it."""

    unusual: bool
    text: str
    figures: dict[str, float]


def eye_comparison(errors: npt.NDArray[np.float64], *, most: float) -> Comparison:
    """Whether the eyes of more than half of a day's crops lie further from their places than `most`.

    A sign test, one-sided. Faces differ: where those of a day have their eyes further apart than the
    template, nearly half of the crops may lie beyond, and on a small day chance alone makes that a half.

    Args:
        errors: distance of the eyes from the template, a number a crop, in the unit of `most`.
    """
    from scipy.stats import binom

    if len(errors) < FEW:
        return Comparison(False, f"{len(errors)} crops: too few to judge", {})
    beyond, median = int((errors > most).sum()), float(np.median(errors))
    chance = float(binom.sf(beyond - 1, len(errors), 0.5))
    return Comparison(
        unusual=chance < CHANCE,
        text=f"the eyes of {beyond} of {len(errors)} crops are off by more than {most:.2f} px, by "
        f"{median:.2f} px in the median",
        figures={"median_eye_error_px": median, "share_beyond": beyond / len(errors), "chance": chance},
    )


def share_comparison(day: tuple[int, int], earlier: Sequence[tuple[int, int]]) -> Comparison:
    """Whether fewer pictures of a day have a face than chance explains, beside earlier days.

    Fisher's exact test, one-sided. Where the earlier days differ from each other by more than chance, as days
    of mixed sources do, pictures count for less in it: by the factor of their overdispersion (Pearson's
    statistic over its degrees of freedom; McCullagh and Nelder, "Generalized linear models", 1989).

    Args:
        day: pictures with a face, pictures.
        earlier: the same of each earlier day.
    """
    from scipy.stats import hypergeom

    found, pictures = day
    counts = np.array([one for one in earlier if one[1]], dtype=np.float64).reshape(-1, 2)
    found_before, before = counts.sum(axis=0)
    if pictures < FEW or before < FEW:
        text = f"{pictures} pictures, {before:.0f} on {len(counts)} earlier days: too few to compare"
        return Comparison(False, text, {})
    share, share_before = found / pictures, found_before / before
    # Kept off 0 and 1, where every picture or none gave a face.
    expected = (found_before + 0.5) / (before + 1)
    spread = (counts[:, 0] - counts[:, 1] * expected) ** 2 / (counts[:, 1] * expected * (1 - expected))
    worth = 1 / max(1.0, spread.sum() / (len(counts) - 1)) if len(counts) > 1 else 1.0
    size, size_before = round(pictures * worth), round(before * worth)
    hits, hits_before = round(found * worth), round(found_before * worth)
    chance = float(hypergeom.cdf(hits, size + size_before, hits + hits_before, size))
    return Comparison(
        unusual=bool(chance < CHANCE and share_before - share >= LEAST_DROP),
        text=f"{share:.1%} of {pictures} pictures give a face, {share_before:.1%} of {before:.0f} on "
        f"{len(counts)} earlier days",
        figures={"face_share": share, "earlier_face_share": share_before, "chance": chance},
    )


def residual_comparison(day: npt.NDArray[np.float64], earlier: npt.NDArray[np.float64]) -> Comparison:
    """Whether a day's faces fit the template worse than those of earlier days (residuals in one unit).

    A one-sided test of Kolmogorov and Smirnov; the shift is its statistic, the share of faces by which more
    of the day lie above some residual.
    """
    from scipy.stats import ks_2samp

    if len(day) < FEW or len(earlier) < FEW:
        text = f"{len(day)} faces, {len(earlier)} on earlier days: too few to compare"
        return Comparison(False, text, {})
    test = ks_2samp(day, earlier, alternative="less")
    median, median_before = float(np.median(day)), float(np.median(earlier))
    return Comparison(
        unusual=bool(test.pvalue < CHANCE and test.statistic >= LEAST_SHIFT),
        text=f"median residual {median:.2f} px of {len(day)} faces, {median_before:.2f} px of {len(earlier)} "
        "on earlier days",
        figures={
            "median_residual_px": median,
            "earlier_median_residual_px": median_before,
            "shift": float(test.statistic),
            "chance": float(test.pvalue),
        },
    )

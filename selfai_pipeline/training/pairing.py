"""From the settings of pre-training to its loss over pairs."""

import logging
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from selfai_pipeline.errors import InputError, TooLittleToLearn
from selfai_pipeline.networks.ranking import RankedPairs
from selfai_pipeline.networks.siamese import HingePairs, Pairs, has_both_kinds
from selfai_pipeline.training.settings import Pairing, RankDistance, SiameseSettings

logger = logging.getLogger("selfai.training")

LEAST_RANKED = 3
"""Of two pictures each is the nearest to the other: there is no order to learn."""


def pairs_of(settings: SiameseSettings, *, negative_from: int | None = None) -> Pairs:
    """The loss that the settings name; `negative_from` takes the place of theirs for `far_classes`."""
    match settings.pairing:
        case Pairing.FAR_CLASSES:
            return HingePairs(settings.margin, negative_from or settings.negative_from)
        case Pairing.SAME_CLASS:
            return HingePairs(settings.margin, negative_from=1)
        case Pairing.GROWING_MARGIN:
            return HingePairs(settings.margin, negative_from=1, margin_at=settings.negative_from)
        case Pairing.RANK_N_CONTRAST:
            norm = 1 if settings.rank_distance is RankDistance.L1 else 2
            return RankedPairs(settings.temperature, norm)


def fitted_pairs(settings: SiameseSettings, classes: Mapping[str, NDArray[np.int64]], *, where: str) -> Pairs:
    """`pairs_of`, once it is sure that every split has pairs to learn from or to be judged by.

    Args:
        classes: of each split, by its name.

    Raises:
        TooLittleToLearn: a split has no pairs of a kind that the loss needs, or is too small for ranks.
        InputError: batches are too small for ranks.
    """
    if settings.pairing is Pairing.RANK_N_CONTRAST:
        _check_ranks(settings, classes, where=where)
        return pairs_of(settings)
    wanted = settings.negative_from if settings.pairing is Pairing.FAR_CLASSES else 1
    return pairs_of(settings, negative_from=widest_negatives(classes, wanted=wanted, where=where))


def _check_ranks(settings: SiameseSettings, classes: Mapping[str, NDArray[np.int64]], *, where: str) -> None:
    for name, split in classes.items():
        if len(split) < LEAST_RANKED:
            raise TooLittleToLearn(
                f"the {name} split has {len(split)} pictures, rank_n_contrast needs {LEAST_RANKED} or more",
                where=where,
                mend="Rate more pictures.",
            )
    if settings.batch_size < LEAST_RANKED:
        raise InputError(
            f"a batch of {settings.batch_size} has no order to learn",
            where="batch_size",
            mend=f"Set it to {LEAST_RANKED} or more, 32 is a small one; or take another pairing.",
        )


def widest_negatives(classes: Mapping[str, NDArray[np.int64]], *, wanted: int, where: str) -> int:
    """The largest distance of classes, up to `wanted`, at which every split has pairs of both kinds.

    Scores of a narrow range (few classes) have no pairs far apart: nearer ones then count as different.

    Raises:
        TooLittleToLearn: a split has no two pictures of one class, or none of two classes.
    """
    for apart in range(wanted, 0, -1):
        kinds = {
            name: has_both_kinds(torch.from_numpy(split), negative_from=apart)
            for name, split in classes.items()
        }
        if all(all(both) for both in kinds.values()):
            if apart < wanted:
                logger.warning(
                    "no pairs %d classes apart: pairs count as different from %d on", wanted, apart
                )
            return apart
    lacking, (positive, _) = next((name, both) for name, both in kinds.items() if not all(both))
    kind = "two classes" if positive else "one class"
    raise TooLittleToLearn(
        f"the {lacking} split has no two pictures of {kind}: the Siamese loss has no pairs",
        where=where,
        mend="Rate more pictures, over more of the scale.",
    )

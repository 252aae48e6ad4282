"""Ratings that several files of one source have: each counts once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from selfai_pipeline.labels.left_out import LeftOut, place_of
from selfai_pipeline.labels.ratings_file import Ratings
from selfai_pipeline.labels.reasons import Reason


@dataclass(frozen=True)
class Overlaps:
    """What is left of the files of a source.

    `pictures` are those of each row of each file, None where the row is not used. `repeated` rows say what a
    row of an earlier file says, `superseded` ones were followed by a later rating in another file.
    """

    pictures: list[list[str | None]]
    repeated: int
    superseded: int
    left_out: list[LeftOut]


@dataclass(frozen=True)
class _Place:
    """A rating: the number of its file, and of its row in it."""

    file: int
    row: int
    score: float
    moment: float


def without_overlaps(files: Sequence[tuple[Ratings, Sequence[str | None]]]) -> Overlaps:
    """Of the ratings of one picture by one annotator in several files of a source, the latest counts.

    Those that say the same are one; where the latest ones differ, all of them are left out. Means are no
    ratings by one annotator: several of a picture may be of different people, and are kept. So are several
    ratings in one file, which has them under different names of the picture.

    Args:
        files: the rows of each file, and the picture of each row; None: none.
    """
    pictures = [list(found) for _, found in files]
    left_out: list[LeftOut] = []
    repeated = superseded = 0
    for group in _shared(files):
        last = max(one.moment for one in group)
        latest = [one for one in group if one.moment == last]
        kept = latest[0]
        other = next((one for one in latest if one.score != kept.score), None)
        superseded += len(group) - len(latest)
        if other is None:
            repeated += len(latest) - 1
        else:
            for one in latest:
                against = other if one.score == kept.score else kept
                left_out.append(_contradiction(files, one, against))
        for one in group:
            if other is not None or one is not kept:
                pictures[one.file][one.row] = None
    return Overlaps(pictures, repeated, superseded, left_out)


def _shared(files: Sequence[tuple[Ratings, Sequence[str | None]]]) -> list[list[_Place]]:
    """The ratings that several files have, in the order of the files."""
    if sum(ratings.annotators is not None for ratings, _ in files) < 2:
        return []
    groups: defaultdict[tuple[str, str, int], list[_Place]] = defaultdict(list)
    for number, (ratings, pictures) in enumerate(files):
        if ratings.annotators is None:
            continue
        seen: Counter[tuple[str, str]] = Counter()
        # By name: which of two names of one picture comes first must not hang on the order of the rows.
        for row in sorted(range(len(ratings)), key=ratings.names.__getitem__):
            picture = pictures[row]
            if picture is None:
                continue
            said = (picture, ratings.annotators[row])
            seen[said] += 1
            moment = ratings.rated_at[row]
            since = moment.timestamp() if moment else float("-inf")
            groups[*said, seen[said]].append(_Place(number, row, float(ratings.scores[row]), since))
    return [group for group in groups.values() if len(group) > 1]


def _contradiction(
    files: Sequence[tuple[Ratings, Sequence[str | None]]], place: _Place, other: _Place
) -> LeftOut:
    ratings, others = files[place.file][0], files[other.file][0]
    name, line = ratings.names[place.row], ratings.lines[place.row]
    scores = f"{ratings.original_scores[place.row]:g}, but {others.original_scores[other.row]:g}"
    who = ratings.annotators[place.row] if ratings.annotators else ""
    elsewhere = place_of(others.file.path, others.lines[other.row])
    detail = f"{name!r} is scored by {who!r} as {scores} in {elsewhere}"
    return LeftOut(ratings.file.path, line, name, Reason.CONTRADICTS, detail)

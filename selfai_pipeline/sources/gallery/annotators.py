"""A simulated crowd: annotators with tastes shifted, hands unsteady, and one who does not look."""

import csv
import datetime
import io
from dataclasses import dataclass

import numpy as np

from selfai_pipeline.sources.gallery.attributes import SCALE_TOP
from selfai_pipeline.sources.gallery.plan import Item

ANNOTATORS = 24
FEWEST, MOST = 2, 6
"""How many different annotators rate one picture."""
COUNT_SHARES = (0.08, 0.17, 0.25, 0.25, 0.25)
"""Share of the pictures with 2, 3, 4, 5 and 6 ratings."""

BIAS_SPREAD = 0.45
UNSTEADINESS = (0.4, 0.9)
COLUMNS = ("image", "annotator", "score", "rated_at", "group")


@dataclass(frozen=True)
class Annotator:
    """`bias` is added to every appeal, `unsteadiness` is the standard deviation of the rest, both on 0..9.

    A careless one answers at random: the ratings carry no signal.
    """

    name: str
    bias: float
    unsteadiness: float
    careless: bool

    def rate(self, appeal: float, generator: np.random.Generator) -> int:
        """A whole score from 0 to 9."""
        if self.careless:
            return int(generator.integers(round(SCALE_TOP) + 1))
        felt = appeal + self.bias + self.unsteadiness * generator.standard_normal()
        return int(np.clip(round(felt), 0, SCALE_TOP))


@dataclass(frozen=True)
class Rating:
    image: str
    annotator: str
    score: int
    rated_at: datetime.datetime
    group: str


def draw_annotators(seed: int) -> list[Annotator]:
    """The crowd of a seed; exactly one of them is careless."""
    generator = np.random.default_rng([seed, ANNOTATORS])
    careless = int(generator.integers(ANNOTATORS))
    return [
        Annotator(
            name=f"annotator-{number + 1:02d}",
            bias=float(BIAS_SPREAD * generator.standard_normal()),
            unsteadiness=float(generator.uniform(*UNSTEADINESS)),
            careless=number == careless,
        )
        for number in range(ANNOTATORS)
    ]


def simulate_ratings(plan: dict[str, list[Item]], *, seed: int) -> list[Rating]:
    """Ratings of every rated item by 2 to 6 annotators drawn at random, in the order of pictures' names."""
    crowd = draw_annotators(seed)
    ratings: list[Rating] = []
    for day, items in plan.items():
        date = datetime.date.fromisoformat(day)
        generator = np.random.default_rng([seed, date.toordinal(), ANNOTATORS])
        evening = datetime.datetime.combine(date, datetime.time(18), tzinfo=datetime.UTC)
        for item in sorted(items, key=lambda one: one.name):
            if not item.rated or item.portrait is None:
                continue
            chosen = generator.choice(
                len(crowd),
                size=int(generator.choice(np.arange(FEWEST, MOST + 1), p=COUNT_SHARES)),
                replace=False,
            )
            for index in sorted(chosen.tolist()):
                ratings.append(
                    Rating(
                        image=item.name,
                        annotator=crowd[index].name,
                        score=crowd[index].rate(item.portrait.appeal, generator),
                        rated_at=evening + datetime.timedelta(seconds=int(generator.integers(4 * 3600))),
                        group=item.portrait.setting.group.value,
                    )
                )
    return ratings


def ratings_csv(ratings: list[Rating]) -> str:
    """The ratings as a CSV with a header; moments in UTC as ISO 8601."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in ratings:
        moment = one.rated_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        writer.writerow([one.image, one.annotator, one.score, moment, one.group])
    return stream.getvalue()

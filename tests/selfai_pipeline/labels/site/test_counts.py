"""Whatever people do, and in whatever order: the counts of a face are those of its assignments."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from selfai_pipeline.labels.site.answering import Skip, give_score, skip, undo
from selfai_pipeline.labels.site.assigning import COUNTED, expire
from selfai_pipeline.labels.site.crowd import renew_targets
from selfai_pipeline.labels.site.database import assignments, faces
from selfai_pipeline.labels.site.people import revoke
from selfai_pipeline.labels.site.reports import Decision, decide, undecided

NAMES = ("ann", "ben", "cleo", "dora", "emil")


class Muddle:
    """People who do at random whatever the site lets them do."""

    def __init__(self, site: Any, seed: int) -> None:
        self.site, self.draws = site, random.Random(seed)
        self.people = {name: site.person(name) for name in NAMES}
        self.tokens: list[tuple[int, str]] = []

    def someone(self) -> int:
        return self.draws.choice(list(self.people.values()))

    def show(self) -> None:
        person = self.someone()
        shown = self.site.show(person)
        if shown is not None:
            self.tokens.append((person, shown.token))

    def score(self) -> None:
        if self.tokens:
            person, token = self.draws.choice(self.tokens[-8:])
            give_score(self.site.database, person, token, self.draws.randrange(10))

    def skip(self) -> None:
        if self.tokens:
            person, token = self.draws.choice(self.tokens[-8:])
            reason = self.draws.choice(list(Skip))
            skip(self.site.database, person, token, reason, settings=self.site.settings)

    def undo(self) -> None:
        undo(self.site.database, self.someone(), settings=self.site.settings)

    def vanish(self) -> None:
        with self.site.database.writing() as connection:
            gone = sa.update(assignments).where(assignments.c.person == self.someone())
            connection.execute(gone.where(assignments.c.state == "open").values(expires_at=0))
        if self.draws.random() < 0.5:
            expire(self.site.database)

    def revoke_and_invite(self) -> None:
        name = self.draws.choice(NAMES)
        revoke(self.site.database, name)
        self.site.person(name)

    def decide(self) -> None:
        with self.site.database.reading() as connection:
            waiting = undecided(connection)
        if waiting:
            report = self.draws.choice(waiting)
            decide(self.site.database, self.people["ann"], report.token, self.draws.choice(list(Decision)))

    def want(self) -> None:
        wanted = self.draws.randrange(1, 4)
        self.site.settings = self.site.settings.model_copy(update={"wanted_annotators": wanted})
        self.site.take_in()
        renew_targets(self.site.database, settings=self.site.settings)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_assignments(crowd: Callable[..., Any], seed: int) -> None:
    site = crowd(5, repeat_share=0.2, repeat_distance=1, most_annotators=4, wide_interval=0.5)
    muddle = Muddle(site, seed)
    deeds = [muddle.show] * 6 + [muddle.score] * 6 + [muddle.skip, muddle.undo, muddle.undo, muddle.vanish]
    deeds += [muddle.revoke_and_invite, muddle.decide, muddle.decide, muddle.want]
    for step in range(150):
        muddle.draws.choice(deeds)()
        rows = site.rows(sa.select(assignments).where(assignments.c.kind.in_(COUNTED)))
        taken = Counter(row.face for row in rows if row.state in ("open", "rated"))
        rated = Counter(row.face for row in rows if row.state == "rated")
        for face in site.rows(sa.select(faces)):
            assert (face.taken, face.rated) == (taken[face.id], rated[face.id]), (step, face.id)
        voices = [(row.face, row.person) for row in rows if row.state in ("open", "rated", "skipped")]
        assert len(voices) == len(set(voices)), step
        open_ones = site.rows(sa.select(assignments.c.person).where(assignments.c.state == "open"))
        assert len(open_ones) == len(set(open_ones)), step

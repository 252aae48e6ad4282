"""Whatever is crawled, rated, trained again and removed in whatever order: an audit names exactly what was
used, and those models are marked that learnt from what was removed.
"""

import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.derived import Selection, derived_from
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.verification import State, verify
from selfai_pipeline.lineage.versions import VersionKey
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.removal.marks import removed_inputs
from selfai_pipeline.removal.plan import make_plan
from selfai_pipeline.removal.subjects import Known
from selfai_pipeline.sources.tombstones import read_tombstones
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef

DAYS = ("2026-01-01", "2026-01-02")
NUMBERS = range(1, 6)

# Few choices, so that the same bytes are often made again from other inputs.
crawls = st.tuples(st.just("crawl"), st.sampled_from(DAYS), st.sampled_from([{1, 2}, {1, 2, 3}, {3, 4}]))
ratings = st.tuples(
    st.just("rate"),
    st.sampled_from(
        [
            [(1, "s/ann", 1.0), (2, "s/bob", 2.0)],
            [(1, "s/ann", 1.0), (2, "s/bob", 2.0), (3, "s/bob", 2.0)],
            [(1, "s/ann", 2.0), (4, "s/ann", 1.0)],
        ]
    ),
)
steps = st.lists(
    st.one_of(
        crawls,
        ratings,
        st.tuples(st.sampled_from(["prune", "align"]), st.sampled_from(DAYS)),
        st.tuples(st.just("label"), st.sampled_from([{2: "test"}, {1: "test", 2: "validation"}])),
        st.tuples(st.sampled_from(["siamese", "finetune"]), st.sampled_from([0, 1])),
        st.just(("widen",)),
        st.tuples(st.just("remove"), st.sampled_from([("picture", 1), ("picture", 3), ("host", 1)])),
        st.tuples(st.just("remove"), st.sampled_from([("annotator", "s/ann"), ("annotator", "s/bob")])),
    ),
    max_size=12,
)


@dataclass
class Told:
    """What the steps said beside what a `World` knows.

    `gone` are pictures (by number) and annotators that were removed. `ratings` has of each version of the
    ratings what it holds, `labels` of each label table what went into it, as (number, annotator) and
    (number, annotator, split).
    """

    gone: set = field(default_factory=set)
    ratings: dict = field(default_factory=lambda: defaultdict(set))
    labels: dict = field(default_factory=lambda: defaultdict(set))

    def is_left(self, rating):
        return self.gone.isdisjoint(rating[:2])

    def marked(self, world):
        """The checkpoints that learnt from what is gone; of what is made from another, those of both."""
        return {
            key
            for key in world.archive.keys
            if is_checkpoint(key)
            and any(
                split != "test" and not self.is_left(rating)
                for one in world.upstream_of(key)
                for *rating, split in self.labels.get(one, ())
            )
        }


def key_of(ref):
    return VersionKey(ref.asset, ref.partition, ref.sha256)


def is_checkpoint(key):
    return key.asset.endswith(("checkpoint", "scorer"))


def do(world, step, told):
    """Take a step; what is gone comes back by no crawl and no rating."""
    kind, *given_ = step
    if kind == "crawl":
        day, numbers = given_
        left = sorted(numbers - told.gone)
        world.crawl(day, {number: f"https://h{number}.example/p.png" for number in left})
    elif kind == "rate":
        ratings = list(filter(told.is_left, given_[0]))
        told.ratings[key_of(world.rate(ratings))] = {rating[:2] for rating in ratings}
    elif kind == "label":
        ref = world.label(*given_)
        splits = {row["image_id"]: row["split"] for row in world.rows(ref)}
        for number, annotator in told.ratings[key_of(world.current("annotations"))]:
            if split := splits.get(world.image_id(number)):
                told.labels[key_of(ref)].add((number, annotator, split))
    elif kind == "remove":
        ((of, what),) = given_
        # An annotator goes with the last picture that they have rated.
        is_known = of != "annotator" or any(what in one for some in told.ratings.values() for one in some)
        if is_known and what not in told.gone:
            remove(world, of, what, told)
            told.gone.add(what)
    elif kind == "siamese":
        world.train("siamese_checkpoint", seed=given_[0])
    elif kind == "widen":
        world.train("widened_checkpoint", "siamese_checkpoint", labelled=False)
    elif kind == "finetune":
        world.train("finetuned_scorer", "widened_checkpoint", seed=given_[0])
        world.register()
    else:
        getattr(world, kind)(*given_)


def remove(world, kind, what, told):
    """What is left of a version was made from what the version was made from, but for what is gone."""
    value = {"picture": world.image_id, "host": lambda one: f"h{one}.example"}.get(kind, str)(what)
    plan = make_plan(kind, value, reason="letter 7", known=Known(world.archive), registry=Registry())
    plan.write(world.store.home)
    carry_out(plan, store=world.store)
    stone = next(one for one in read_tombstones(world.store) if one.removal == plan.removal)
    redacted = {
        VersionKey(one["asset"], one["partition"], one["before"]): one["after"] for one in stone.versions
    }
    if kind == "annotator":
        holding = {key for key, rated in told.ratings.items() if what in {one for _, one in rated}}
    else:
        holding = {key for key, ids in world.pictures.items() if world.image_id(what) in ids}
    assert redacted.keys() <= holding
    for key in holding:
        rated = told.ratings.get(key, set())
        if kind != "annotator":
            world.pictures[key] = world.pictures[key] - {world.image_id(what)}
        else:
            world.pictures[key] = {world.image_id(number) for number, one in rated if one != what}
        if key in told.ratings:
            told.ratings[key] = {rating for rating in rated if what not in rating}
    for key, after in redacted.items():
        left = replace(key, sha256=after)
        world.pictures[left] = world.pictures[key]
        world.used[left] = world.used.get(left, set()) | world.used.get(key, set())
        if key in told.ratings:
            told.ratings[left] = told.ratings[key]
        # What is left of labels that an annotator's ratings went into counts as the whole does.
        told.labels[left] |= {
            rating for rating in told.labels.get(key, ()) if what not in rating or rating[1] in told.gone
        }


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
@example(steps=[("remove", ("annotator", "s/ann"))])
def test_audit_and_derivation_agree_with_what_was_used(make_world, steps):
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Store.open(Path(folder) / "home"))
        first = [("crawl", DAYS[0], {1, 2}), ("prune", DAYS[0]), ("align", DAYS[0])]
        first += [("crawl", DAYS[1], {3}), ("prune", DAYS[1]), ("align", DAYS[1])]
        first += [("rate", [(1, "s/ann", 1.0), (2, "s/bob", 2.0), (3, "s/bob", 2.0)]), ("label", {2: "test"})]
        first += [("siamese", 0), ("widen",), ("finetune", 0)]
        last = [("siamese", 2), ("widen",), ("finetune", 2)]
        told = Told()
        for step in (*first, *steps, *last):
            do(world, step, told)
        for one in world.registered:
            audited = audit(f"@{one.version}", archive=world.archive, registry=world.registry)
            assert {version.key for version in audited.versions} == world.upstream_of(audited.key)
            assert audited.problems == ()
            unregistered = audit(one.checkpoint_sha256, archive=world.archive, registry=Registry())
            states = {found.state for found in verify(unregistered, archive=world.archive)}
            assert states <= {State.INTACT, State.REDACTED}
        marked = set()
        for key in world.archive.keys:
            audited = audit(f"{key.sha256}@{key.partition}", archive=world.archive, registry=world.registry)
            assert {version.key for version in audited.versions} == world.upstream_of(key)
            if is_checkpoint(key):
                marks = removed_inputs(world.store, CheckpointRef(key.asset, WHOLE, key.sha256, 0))
                assert audited.marks == tuple(marks)
                marked |= {key} if marks else set()
        assert marked == told.marked(world)
        for number in NUMBERS:
            check_derived(world, number)


def check_derived(world, number):
    """A picture's rows are those that hold it, and its models those whose labels do.

    A rating may be of a picture that no crawl has stored: it is found by the picture, and not by the host.
    """
    holding = {key for key, ids in world.pictures.items() if world.image_id(number) in ids}

    def came_of_host(key):
        crawled = key.asset == "raw_crawl"
        return key in holding and (crawled or any(map(came_of_host, world.used.get(key, ()))))

    picture = Selection("picture", "", frozenset([world.image_id(number)]))
    host = Selection("host", f"h{number}.example")
    for selection, expected in [(picture, holding), (host, set(filter(came_of_host, holding)))]:
        if not expected:
            continue
        found = derived_from(selection, archive=world.archive, registry=world.registry)
        assert {touched.version.key for touched in found.tables} == expected
        labels = {key for key in expected if key.asset == "balanced_label_table"}
        assert {one.version.key for one in found.models} == {
            key for key in world.archive.keys if is_checkpoint(key) and world.upstream_of(key) & labels
        }

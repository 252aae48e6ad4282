"""Whatever is crawled, rated, trained again and removed in whatever order: an audit names exactly what was
used.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.derived import Selection, derived_from
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.verification import State, verify
from selfai_pipeline.lineage.versions import VersionKey
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.removal.plan import make_plan
from selfai_pipeline.removal.subjects import Known
from selfai_pipeline.sources.tombstones import read_tombstones
from selfai_pipeline.store import Store

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
        st.tuples(st.sampled_from(["siamese", "widen", "finetune"])),
        st.tuples(st.just("remove"), st.sampled_from([1, 3])),
    ),
    max_size=12,
)


def do(world, step, removed):
    """Take a step; `removed` are the numbers of the pictures that are gone, which no crawl brings back."""
    kind, *given_ = step
    if kind == "crawl":
        day, numbers = given_
        left = sorted(numbers - removed)
        world.crawl(day, {number: f"https://h{number}.example/p.png" for number in left})
    elif kind == "rate":
        world.rate([rating for rating in given_[0] if rating[0] not in removed])
    elif kind == "remove":
        if given_[0] not in removed:
            remove(world, given_[0])
            removed.add(given_[0])
    elif kind == "siamese":
        world.train("siamese_checkpoint")
    elif kind == "widen":
        world.train("widened_checkpoint", "siamese_checkpoint", labelled=False)
    elif kind == "finetune":
        world.train("finetuned_scorer", "widened_checkpoint")
        world.register()
    else:
        getattr(world, kind)(*given_)


def remove(world, number):
    """What is left of a version was made from what the version was made from."""
    image_id = world.image_id(number)
    plan = make_plan("picture", image_id, reason="letter 7", known=Known(world.archive), registry=Registry())
    plan.write(world.store.home)
    carry_out(plan, store=world.store)
    stone = next(one for one in read_tombstones(world.store) if one.removal == plan.removal)
    holding = {key for key, ids in world.pictures.items() if image_id in ids}
    redacted = {
        VersionKey(one["asset"], one["partition"], one["before"]): one["after"] for one in stone.versions
    }
    assert redacted.keys() <= holding
    for key in holding:
        world.pictures[key] = world.pictures[key] - {image_id}
    for key, after in redacted.items():
        left = replace(key, sha256=after)
        world.pictures[left] = world.pictures[key]
        world.used[left] = world.used.get(left, set()) | world.used.get(key, set())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_audit_and_derivation_agree_with_what_was_used(make_world, steps):
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Store.open(Path(folder) / "home"))
        first = [("crawl", DAYS[0], {1, 2}), ("prune", DAYS[0]), ("align", DAYS[0])]
        first += [("crawl", DAYS[1], {3}), ("prune", DAYS[1]), ("align", DAYS[1])]
        first += [("rate", [(1, "s/ann", 1.0), (2, "s/bob", 2.0)]), ("label", {2: "test"})]
        removed = set()
        for step in (*first, ("siamese",), ("widen",), ("finetune",), *steps, ("finetune",)):
            do(world, step, removed)
        for one in world.registered:
            audited = audit(f"@{one.version}", archive=world.archive, registry=world.registry)
            assert {version.key for version in audited.versions} == world.upstream_of(audited.key)
            assert audited.problems == ()
            unregistered = audit(one.checkpoint_sha256, archive=world.archive, registry=Registry())
            states = {found.state for found in verify(unregistered, archive=world.archive)}
            assert states <= {State.INTACT, State.REDACTED}
        for key in world.archive.keys:
            audited = audit(f"{key.sha256}@{key.partition}", archive=world.archive, registry=world.registry)
            assert {version.key for version in audited.versions} == world.upstream_of(key)
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
            key
            for key in world.archive.keys
            if key.asset.endswith(("checkpoint", "scorer")) and world.upstream_of(key) & labels
        }

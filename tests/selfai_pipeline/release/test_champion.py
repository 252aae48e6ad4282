"""The champion moves only as the rule allows, with a reason and a record; tampering is refused."""

import re
from pathlib import Path

import pytest

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.documents import as_text, audit_document
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.promotions import Kind, Way
from selfai_pipeline.lineage.values import audit_values
from selfai_pipeline.lineage.verification import verify
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.release import champion as champion_module
from selfai_pipeline.release.champion import Move, NotPromoted, by_hand, champion_now
from selfai_pipeline.release.examination import read_comparison, write_comparison
from selfai_pipeline.release.promotion import promote_compared
from selfai_pipeline.training.checkpoints import folder_of

MODEL = "selfai-scorer"


@pytest.fixture
def first(world):
    """A scorer fitted to few faces, which is the champion."""
    version = world.candidate(fitted_to=6)
    world.promote(version)
    return version


@pytest.fixture
def better(world, first):
    """A candidate that is better than the champion."""
    return world.candidate(fitted_to=60)


def test_the_first_scorer_that_correlates_becomes_champion_and_the_registry_says_why(world):
    version = world.candidate(fitted_to=6)
    assert world.registry.alias("candidate") == version.version
    entry = world.promote(version)
    assert world.alias == version.version
    assert world.registry.alias("candidate") is None, "it is no candidate any more"
    assert (entry.kind, entry.way, entry.before, entry.by) == (Kind.PROMOTION, Way.HAND, None, "ann")
    assert entry.evidence["finding"].startswith("There is no other champion to compare it with. Pearson 0.9")
    tags = world.registry.tags(version.version)
    assert tags["selfai.status"] == "champion"
    assert tags["selfai.promoted_by"] == "ann"
    assert tags["selfai.reason"] == "a test wants it"
    assert tags["selfai.promotion"] == world.log.last_sha256
    assert world.promote(version) is None, "once is enough"
    assert len(world.log.entries) == 1


def test_a_better_scorer_takes_over_and_a_rollback_gives_the_alias_back(world, first, better, champion_of):
    world.promote(better)
    assert world.alias == better.version
    assert world.registry.tags(first.version)["selfai.status"] == "former champion"
    entry = world.rollback("it is worse in the dark")
    assert world.alias == first.version
    assert (entry.kind, entry.champion, entry.before) == (
        Kind.ROLLBACK,
        champion_of(first),
        champion_of(better),
    )
    assert world.registry.tags(better.version)["selfai.status"] == "taken back"
    with pytest.raises(InputError, match="there is no champion before this one"):
        world.rollback()


def test_a_scorer_that_is_not_better_is_refused_and_a_person_can_override_it(world, better):
    world.promote(better)
    worse = world.candidate(fitted_to=5)
    with pytest.raises(NotPromoted, match=r"selfai-scorer@3: It is not shown to be better.*with --override"):
        world.promote(worse)
    assert world.alias == better.version
    entry = world.promote(worse, override=True)
    assert entry.overridden == ("It is not shown to be better: the interval has to lie above 0.00.",)
    assert world.alias == worse.version
    assert "not shown to be better" in world.registry.tags(worse.version)["selfai.overridden"]


def test_a_check_cannot_override_anything(world, better):
    world.promote(better)
    worse = world.candidate(fitted_to=5)
    with pytest.raises(NotPromoted, match="not shown to be better"):
        world.promote(worse, Move(Way.CHECK, "the graph", "because", override=True))


def test_nobody_can_promote_what_has_removed_data_in_it(world, first, better):
    world.removed.add(better.checkpoint_sha256)
    with pytest.raises(NotPromoted, match=r"removed data is in it: picture of .*nobody can override"):
        world.promote(better, override=True)
    assert world.alias == first.version


def test_a_rollback_does_not_lead_to_a_champion_with_removed_data(world, first, better):
    world.promote(better)
    world.removed.add(first.checkpoint_sha256)
    with pytest.raises(NotPromoted, match="removed data is in it"):
        world.rollback()
    assert world.alias == better.version
    _, decision = world.examine(world.candidate(fitted_to=59))
    assert "removed data" not in decision.text
    world.removed.add(better.checkpoint_sha256)
    _, decision = world.examine(world.candidate(fitted_to=58))
    assert "The champion itself has removed data in it" in decision.finding


def promote_as_examined(world, version, comparison, decision):
    """What `world.promote` ends with, on a comparison that was made before."""
    champion_module.promote(
        version,
        comparison=comparison,
        decision=decision,
        move=by_hand("it is better", store=world.store),
        registry=world.registry,
        store=world.store,
        removed_inputs=world.removed_inputs,
    )


def test_what_was_removed_after_the_comparison_counts(world, first, better):
    comparison, decision = world.examine(better)
    world.removed.add(better.checkpoint_sha256)
    assert decision.passes
    with pytest.raises(NotPromoted, match="removed data"):
        promote_as_examined(world, better, comparison, decision)


def test_a_comparison_with_another_champion_is_out_of_date(world, first, better):
    comparison, decision = world.examine(better)
    other = world.candidate(fitted_to=30)
    world.promote(other, override=True)
    with pytest.raises(InputError, match="the champion changed since the two were compared"):
        promote_as_examined(world, better, comparison, decision)


STEPS = ("append_promotion", "move_alias", "tag")


@pytest.mark.parametrize("step", STEPS)
def test_a_move_that_was_killed_between_its_steps_is_finished_by_the_next(
    world, first, better, step, monkeypatch
):
    """Killed behind the entry, behind the alias, or behind the first of the tags."""

    class Killed(BaseException):
        pass

    def behind(true):
        def call(*arguments, **values):
            true(*arguments, **values)
            raise Killed

        return call

    with monkeypatch.context() as patch:
        if step == "append_promotion":
            patch.setattr(champion_module, step, behind(champion_module.append_promotion))
        else:
            kind = champion_module.ModelRegistry
            patch.setattr(kind, step, behind(getattr(kind, step)))
        with pytest.raises(Killed):
            world.promote(better)
    assert world.log.champion.version == better.version
    assert champion_now(world.registry, world.store) == world.log.champion
    assert world.alias == better.version
    assert world.registry.tags(better.version)["selfai.promotion"] == world.log.last_sha256
    assert world.registry.tags(first.version)["selfai.status"] == "former champion"
    assert world.rollback().champion.version == first.version


def test_an_alias_that_was_moved_from_outside_stops_every_check_until_a_person_settles_it(
    world, first, better
):
    world.promote(better)
    world.client.set_registered_model_alias(MODEL, "champion", str(first.version))
    message = r"alias champion is at version 1, and the log of promotions says version 2: it was moved"
    with pytest.raises(AlteredVersion, match=message):
        champion_now(world.registry, world.store)
    with pytest.raises(AlteredVersion, match=message):
        world.rollback()
    with pytest.raises(AlteredVersion, match=message):
        world.promote(better, Move(Way.CHECK, "the graph", "because"))
    entry = world.promote(first, override=True)
    assert entry.before is not None
    assert entry.before.version == better.version
    assert champion_now(world.registry, world.store).version == first.version


def test_an_alias_that_was_deleted_is_not_taken_for_no_champion(world, first, better):
    world.client.delete_registered_model_alias(MODEL, "champion")
    with pytest.raises(AlteredVersion, match="the alias champion is gone"):
        champion_now(world.registry, world.store)
    world.promote(better)
    assert world.alias == better.version


def test_an_alias_from_before_the_log_can_be_adopted(world):
    version = world.candidate(fitted_to=30)
    world.client.set_registered_model_alias(MODEL, "champion", str(version.version))
    with pytest.raises(AlteredVersion, match="the log of promotions says nothing of it"):
        champion_now(world.registry, world.store)
    assert world.promote(version).before is None
    assert champion_now(world.registry, world.store).version == version.version


def test_a_version_whose_checkpoint_tag_was_changed_is_refused(world, first):
    world.client.set_model_version_tag(MODEL, str(first.version), "checkpoint_sha256", "f" * 64)
    with pytest.raises(AlteredVersion, match=r"registered with checkpoint ffffffffffff.*says"):
        champion_now(world.registry, world.store)


def test_a_champion_that_was_deleted_or_renamed_in_mlflow_does_not_lock_a_person_out(world, first, better):
    world.promote(better)
    world.client.delete_model_version(MODEL, str(better.version))
    with pytest.raises(AlteredVersion, match="the alias champion is gone"):
        champion_now(world.registry, world.store)
    assert world.promote(first, override=True).champion.version == first.version
    for sha256 in ("f" * 64, "nonsense"):
        world.client.set_model_version_tag(MODEL, str(first.version), "checkpoint_sha256", sha256)
        with pytest.raises(AlteredVersion, match="registered with checkpoint"):
            champion_now(world.registry, world.store)
        other = world.candidate(fitted_to=30)
        assert world.promote(other, override=True).champion.version == other.version
        world.client.set_model_version_tag(
            MODEL, str(first.version), "checkpoint_sha256", first.checkpoint_sha256
        )
        world.promote(first, override=True)


def test_weights_that_were_tampered_with_are_neither_promoted_nor_rolled_back_to(world, first, better):
    path = world.store.files.local_path(f"{folder_of(champion_module.reference(better))}/weights.safetensors")
    content = path.read_bytes()
    comparison, decision = world.examine(better)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(AlteredVersion, match=r"weights\.safetensors: its bytes now hash to"):
        promote_as_examined(world, better, comparison, decision)
    path.write_bytes(content)
    world.promote(better)
    path = world.store.files.local_path(f"{folder_of(champion_module.reference(first))}/record.json")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(AlteredVersion, match=r"record\.json"):
        world.rollback()
    assert world.alias == better.version


def test_a_tampered_copy_in_mlflow_is_not_promoted(world, first, better):
    copy = Path(better.source.removeprefix("file://")) / "weights.safetensors"
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(AlteredVersion, match=r"file of selfai-scorer@2 is altered\. Put it back"):
        world.promote(better)


def test_a_champion_that_is_lost_speaks_against_every_candidate_until_a_person_overrides(
    world, first, better
):
    path = world.store.files.local_path(f"{folder_of(champion_module.reference(first))}/weights.safetensors")
    path.unlink()
    comparison, decision = world.examine(better)
    assert comparison.champion == first.checkpoint_sha256
    assert "it could not be compared with champion version 1" in decision.text
    with pytest.raises(NotPromoted, match="could not be compared"):
        world.promote(better)
    assert world.promote(better, override=True).champion.version == better.version


def test_the_graph_does_not_promote_again_what_a_person_took_back(world, first, better):
    comparison, decision = world.examine(better)
    ref = write_comparison(comparison, decision, store=world.store)
    assert read_comparison(ref, store=world.store) == (comparison, decision)
    options = {"registry": world.registry, "store": world.store, "removed_inputs": world.removed_inputs}
    with pytest.raises(NotPromoted, match="its check promotion has not passed"):
        promote_compared(ref, dagster_run="run-1", **options)
    world.store.tables.judge(ref, {"promotion": True})
    made, _ = promote_compared(ref, dagster_run="run-1", **options)
    (row,) = world.store.tables.read(made).to_pylist()
    assert (row["version"], row["before_version"]) == (2, 1)
    assert world.log.last.dagster_run == "run-1"
    assert promote_compared(ref, dagster_run="run-2", **options)[0] == made, "it is the champion already"
    world.rollback("it was wrong")
    with pytest.raises(NotPromoted, match=r"it was taken back by ann on 20\d\d-\d\d-\d\d \(it was wrong\)"):
        promote_compared(ref, dagster_run="run-3", **options)
    assert world.promote(better).champion.version == better.version
    assert len(world.log.entries) == 4


def test_a_reason_is_kept_on_one_line_with_who_gave_it(store):
    move = by_hand("  two\nlines ", store=store, by=" bob ")
    assert (move.reason, move.by) == ("two lines", "bob")
    assert by_hand("it is better", store=store).by


def test_audits_show_the_log_and_verify_its_entries(world, first, better):
    world.promote(better)
    world.rollback("it was wrong")
    archive = Archive(world.store)
    audited = audit("@champion", archive=archive, registry=world.known)
    text = as_text(audit_document(audited))
    assert re.search(r"rollback +selfai-scorer@1 +selfai-scorer@2 +ann +it was wrong", text)
    assert [one["kind"] for one in audit_values(audited)["promotions"]] == [
        "promotion",
        "promotion",
        "rollback",
    ]
    entries = [one for one in verify(audited, archive=archive) if one.kind.startswith("entry of the log")]
    assert [one.state for one in entries] == [State.INTACT] * 3
    path = Path(entries[0].path)
    path.write_bytes(path.read_bytes() + b" ")
    damaged = audit("@champion", archive=Archive(world.store), registry=world.known)
    assert any("000001-" in problem for problem in damaged.problems)
    wrong = [one.path for one in verify(damaged, archive=archive) if one.state is State.ALTERED]
    assert wrong == [str(path)], "the log is not read any more, and its entries are looked at all the same"

import functools
import hashlib
import io
import os
import pickle
import time

import pytest
import torch

from selfai_pipeline.errors import AlteredVersion, StorageError
from selfai_pipeline.training.recovery import RecoveryPoint

RUN = {"asset": "siamese_checkpoint", "inputs": {"labels": "0" * 64}, "settings": {"seed": 0}}


@pytest.fixture
def point(store):
    return RecoveryPoint.of(RUN, store=store)


def test_the_last_state_written_is_read(point):
    assert point.read() is None
    point.write({"epoch": 1, "weights": torch.zeros(3)})
    point.write({"epoch": 2, "weights": torch.ones(3)})
    state = point.read()
    assert state["epoch"] == 2
    assert torch.equal(state["weights"], torch.ones(3))
    assert [file.name for file in point.path.parent.iterdir()] == [point.path.name]


def test_another_run_has_another_file(store, point):
    for change in ({"settings": {"seed": 1}}, {"environment": {"threads": 2}}):
        assert RecoveryPoint.of({**RUN, **change}, store=store).path != point.path
    assert RecoveryPoint.of(dict(reversed(RUN.items())), store=store).path == point.path


@pytest.mark.parametrize(
    "damage", [lambda old: old[: len(old) // 2], lambda old: b"", lambda old: b"text" * 99]
)
def test_a_damaged_file_is_named_and_how_to_go_on(point, damage):
    point.write({"epoch": 1, "weights": torch.zeros(300)})
    point.path.write_bytes(damage(point.path.read_bytes()))
    with pytest.raises(AlteredVersion, match="Delete it to train from the beginning"):
        point.read()


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm-done",)


def saved_by_torch(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def forge(point, body):
    """A file whose hash is right although the pipeline never wrote it."""
    point.path.parent.mkdir(parents=True)
    point.path.write_bytes(hashlib.sha256(body).hexdigest().encode() + body)


@pytest.mark.parametrize("serialise", [saved_by_torch, functools.partial(pickle.dumps, protocol=2)])
def test_a_pickle_with_code_in_it_runs_nothing(point, serialise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forge(point, serialise(Harm()))
    with pytest.raises(AlteredVersion, match="more than numbers"):
        point.read()
    assert not (tmp_path / "harm-done").exists()


def test_a_file_of_another_version_is_refused(point):
    forge(point, saved_by_torch({"epoch": 1, "version": 0}))
    with pytest.raises(AlteredVersion, match="another version"):
        point.read()


def test_a_write_that_fails_keeps_the_state_before(point, monkeypatch):
    point.write({"epoch": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        point.write({"epoch": 2})
    monkeypatch.undo()
    assert point.read()["epoch"] == 1
    assert len(list(point.path.parent.iterdir())) == 1


def written_in_turn(points, *, hours_ago=1, **state):
    """Each a minute after the one before, the last `hours_ago`."""
    for minute, point in enumerate(points):
        point.write({"epoch": 1, **state})
        moment = time.time() - 3600 * hours_ago - 60 * (len(points) - minute)
        os.utime(point.path, (moment, moment))


def test_few_recovery_points_of_finished_runs_of_an_asset_stay_the_newest(store):
    points = [RecoveryPoint.of({**RUN, "settings": {"seed": seed}}, store=store) for seed in range(5)]
    other = RecoveryPoint.of({**RUN, "asset": "finetuned_scorer"}, store=store)
    written_in_turn([other, *points], finished=True)
    points[0].write({"epoch": 2, "finished": True})
    kept = [point for point in points if point.path.exists()]
    assert kept == [points[0], points[3], points[4]]
    assert other.path.exists()


def test_a_run_that_was_killed_can_go_on_however_many_others_were_trained_since(store):
    """An arm of a backfill that was lost with its machine waits until all others are done."""
    killed, damaged, *others = (
        RecoveryPoint.of({**RUN, "settings": {"seed": seed}}, store=store) for seed in range(8)
    )
    written_in_turn([killed, damaged], hours_ago=9, finished=False)
    damaged.path.write_bytes(b"text")
    os.utime(damaged.path, (time.time() - 9 * 3600,) * 2)
    written_in_turn(others, finished=True)
    assert killed.read()["epoch"] == 1
    assert not damaged.path.exists()
    two_weeks_ago = time.time() - 15 * 86400
    os.utime(killed.path, (two_weeks_ago, two_weeks_ago))
    others[0].write({"epoch": 2})
    assert not killed.path.exists()


def test_a_file_that_another_process_has_just_moved_stops_no_epoch(point):
    """Runs side by side sweep the same folder; a link to nothing stands for a file that is gone by then."""
    point.path.parent.mkdir(parents=True)
    for name in (".1.part", ".0.pt"):
        point.path.with_suffix("").with_suffix(name).symlink_to("nothing")
    assert point.read() is None
    point.write({"epoch": 1})
    assert point.read()["epoch"] == 1


def test_what_a_killed_process_left_half_written_is_swept(point):
    point.path.parent.mkdir(parents=True)
    stale, fresh = (point.path.with_suffix(f".{number}.part") for number in (1, 2))
    for part in (stale, fresh):
        part.write_bytes(b"half")
    os.utime(stale, (0, 0))
    point.write({"epoch": 1})
    assert not stale.exists()
    assert fresh.exists()

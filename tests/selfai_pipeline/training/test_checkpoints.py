import json
import pickle

import pytest
import safetensors.torch
import torch

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet, with_head
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.checkpoints import (
    SCHEMA_VERSION,
    finite,
    folder_of,
    load_checkpoint,
    save_checkpoint,
)
from selfai_pipeline.training.pixels import Framing

RECORD = {
    "input_size": 32,
    "settings": {},
    "inputs": {},
    "metrics": {"loss": 0.5},
    "history": [],
    "growth": [],
}


def network(seed=0):
    return Network(with_head(tiny_darknet(0.12)), seed=seed)


OF_NO_BACKBONE = [{"kind": "backbone", "name": "resnet", "channels": 9}, {"kind": "global_average_pool"}]


def save(store, record=RECORD, seed=0):
    return save_checkpoint(network(seed), asset="finetuned_scorer", record=record, rows=7, store=store)


def path(store, ref, name):
    return store.files.local_path(f"{folder_of(ref)}/{name}")


def test_what_was_saved_comes_back(store):
    ref = save(store)
    loaded = load_checkpoint(ref, store=store)
    for name, tensor in network().state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
    assert loaded.network.stages == network().stages
    assert not loaded.network.training
    assert loaded.input_size == 32
    assert loaded.record["metrics"] == {"loss": 0.5}
    assert loaded.record["schema_version"] == SCHEMA_VERSION


def test_a_checkpoint_from_before_there_was_framing_sees_whole_crops(store):
    assert "framing" not in RECORD
    assert load_checkpoint(save(store), store=store).framing == Framing(32, 1.0)
    framed = save(store, {**RECORD, "framing": 0.7})
    assert load_checkpoint(framed, store=store).framing == Framing(32, 0.7)


def test_a_head_from_before_there_were_mirror_images_looks_once(store):
    record = stored_record(store)
    assert record["architecture"][-1].pop("mirrored") is False
    old = load_checkpoint(forge(store, record, weights_of(network().stages)), store=store)
    assert old.network.mirrored is False


def test_the_same_network_and_record_give_the_same_reference(store):
    assert save(store) == save(store)
    assert save(store, seed=1) != save(store)
    assert save(store, {**RECORD, "metrics": {"loss": 0.6}}) != save(store)


def test_weights_in_another_memory_layout_are_the_same_checkpoint(store):
    other = network().to(memory_format=torch.channels_last)
    assert save_checkpoint(other, asset="finetuned_scorer", record=RECORD, rows=7, store=store) == save(store)


@pytest.mark.parametrize("name", ["weights.safetensors", "record.json"])
@pytest.mark.parametrize(
    "damage", [lambda old: old[:-1], lambda old: b"", lambda old: bytes([old[0] ^ 1]) + old[1:]]
)
def test_a_truncated_or_altered_file_is_found_out(store, name, damage):
    ref = save(store)
    file = path(store, ref, name)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(AlteredVersion, match=name):
        load_checkpoint(ref, store=store)


@pytest.mark.parametrize("name", ["weights.safetensors", "record.json"])
def test_a_missing_file_is_named(store, name):
    ref = save(store)
    path(store, ref, name).unlink()
    with pytest.raises(MissingVersion, match=name):
        load_checkpoint(ref, store=store)


def forge(store, record, weights):
    """A checkpoint whose hashes are right although its content is not."""
    import hashlib

    record = {**record, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    content = json.dumps(record).encode()
    ref = CheckpointRef("finetuned_scorer", "all", hashlib.sha256(content).hexdigest(), 1)
    store.files.write(f"{folder_of(ref)}/record.json", content)
    store.files.write(f"{folder_of(ref)}/weights.safetensors", weights)
    return ref


def stored_record(store):
    return json.loads(path(store, save(store), "record.json").read_bytes())


def weights_of(stages):
    return safetensors.torch.save(Network(stages).state_dict())


def test_a_pickle_is_never_opened(store):
    ref = forge(store, stored_record(store), pickle.dumps(pytest.fail))
    with pytest.raises(AlteredVersion, match="not a safetensors file"):
        load_checkpoint(ref, store=store)


@pytest.mark.parametrize("stages", [tiny_darknet(0.12), with_head(tiny_darknet(0.25))])
def test_weights_of_another_architecture_are_refused(store, stages):
    with pytest.raises(InputError, match="do not fit the architecture"):
        load_checkpoint(forge(store, stored_record(store), weights_of(stages)), store=store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"schema_version": None}, "schema version None"),
        ({"architecture": [{"kind": "transformer"}]}, "no network can be built .*no known kind"),
        ({"architecture": None}, "no network can be built .*not a list"),
        ({"architecture": OF_NO_BACKBONE}, "no network can be built .*no backbone is called 'resnet'"),
        ({"input_size": "large"}, "input_size is 'large'"),
        ({"input_size": 0}, "input_size is 0"),
        ({"framing": "face"}, "framing is 'face'"),
        ({"framing": True}, "framing is True"),
        ({"framing": 0}, "framing is 0"),
        ({"framing": 1.5}, "framing is 1.5"),
    ],
)
def test_a_record_that_this_code_cannot_use_is_refused(store, change, message):
    record = {**stored_record(store), **change}
    with pytest.raises(InputError, match=message):
        load_checkpoint(forge(store, record, weights_of(network().stages)), store=store)


def test_an_architecture_that_would_fill_the_memory_is_refused_before_it_is_built(store):
    record = stored_record(store)
    record["architecture"][0]["channels"] = 60_000
    record["architecture"][2]["channels"] = 60_000
    with pytest.raises(InputError, match="do not fit"):
        load_checkpoint(forge(store, record, weights_of(network().stages)), store=store)


def test_a_reference_cannot_climb_out_of_the_store(store):
    with pytest.raises(ValueError, match="not a reference"):
        load_checkpoint(CheckpointRef("..", "all", "0" * 64, 1), store=store)


def test_a_figure_that_is_not_finite_is_not_recorded(store):
    with pytest.raises(ValueError):
        save(store, {**RECORD, "metrics": {"loss": float("nan")}})
    with pytest.raises(ValueError, match="loss is inf"):
        finite({"loss": float("inf")})

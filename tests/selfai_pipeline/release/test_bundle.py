"""A release bundle: complete, free of what must not be published, refused once anything in it was altered."""

import hashlib
import json
import platform
import re
import subprocess

import onnxruntime
import pytest
import safetensors.torch
import torch

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import stages_from_json
from selfai_pipeline.release.bundle import FILES, SUMS, make_bundle, sums_of, write_bundle
from selfai_pipeline.release.examination import comparison_of
from selfai_pipeline.release.parity import random_pixels
from selfai_pipeline.release.verified_bundle import read_bundle, verify_bundle
from selfai_pipeline.training.augmentation import normalise

ANNOTATOR = "ann-ot-ator"


@pytest.fixture
def bundle_of(world):
    def make(version, **changes):
        return make_bundle(
            version,
            store=world.store,
            registry=world.known,
            settings=world.release.model_copy(update=changes),
            removed_inputs=world.removed_inputs,
            comparison=comparison_of(world.log, version.checkpoint_sha256),
        )

    return make


@pytest.fixture
def folder(champion, bundle_of, tmp_path):
    return write_bundle(bundle_of(champion), tmp_path / "bundle")


def test_a_bundle_has_every_part_and_scores_from_its_own_files_alone(folder, champion):
    assert {path.name for path in folder.iterdir()} == {*FILES, SUMS}
    release = json.loads((folder / "release.json").read_text())
    assert release["version"] == champion.version
    assert release["checkpoint_sha256"] == champion.checkpoint_sha256
    card = (folder / "README.md").read_text()
    assert "not for decisions about anyone" in card
    assert "There is no other champion to compare it with" in card
    assert json.loads((folder / "intervals.json").read_text())["levels"][0]["half_width"] == 1.5
    parity = json.loads((folder / "onnx_parity.json").read_text())
    assert (parity["faces"], parity["random"]) == (8, 4)
    assert parity["largest_difference"] <= parity["tolerance"]

    stages = stages_from_json(json.loads((folder / "stages.json").read_text()))
    network = Network(stages).eval()
    network.load_state_dict(safetensors.torch.load((folder / "model.safetensors").read_bytes()))
    steps = json.loads((folder / "preprocessing.json").read_text())
    pixels = random_pixels(5, input_size=steps["input_size"])
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    entry, leaving = steps["onnx"]["input"]["name"], steps["onnx"]["output"]["name"]
    (scores,) = session.run([leaving], {entry: pixels})
    with torch.inference_mode():
        expected = network(normalise(torch.from_numpy(pixels)))
    torch.testing.assert_close(torch.from_numpy(scores), expected, atol=1e-4, rtol=0)


def test_the_hash_list_is_one_that_sha256sum_reads(folder):
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(": OK") == len(FILES)


def test_nothing_in_it_names_a_picture_a_person_a_place_or_a_machine(world, bundle_of):
    world.crawl(
        ("folder-of-ann", "https://one.example/b.png", f"ask {ANNOTATOR}@one.example"),
        ("folder-of-ann", "file:/home/ann/c.png", "/home/ann/LICENCE"),
    )
    world.label(group=lambda number: f"{ANNOTATOR}@one.example" if number % 2 else "a")
    version = world.candidate(evaluated=True)
    world.promote(version)
    content = b"\0".join(bundle_of(version).values())
    labels = world.store.tables.read(world.labels).to_pylist()
    secrets = {
        *(row["image_id"] for row in labels),
        *(row["crop_sha256"] for row in labels),
        *("one.example", "folder-of-ann", "/home", ANNOTATOR, "a test wants it"),
        *(str(world.home.root), version.source),
    }
    assert [secret for secret in secrets if secret and secret.encode() in content] == []
    assert re.findall(rb"[a-z]+://", content) == []
    texts = [one.decode() for name, one in bundle_of(version).items() if not name.startswith("model.")]
    # The name of a machine can be two letters, which weights hold by chance.
    assert re.findall(rf"(?<![\w.]){re.escape(platform.node())}(?![\w.])", " ".join(texts)) == []
    pictures = (b"\x89PNG", b"\xff\xd8\xff", b"data:image")
    assert not any(magic in content for magic in pictures)


def test_the_same_version_gives_the_same_bytes(champion, bundle_of):
    assert bundle_of(champion) == bundle_of(champion)


def test_a_bundle_is_written_whole_and_never_over_something_else(champion, bundle_of, tmp_path):
    files = bundle_of(champion)
    (tmp_path / "empty").mkdir()
    folder = write_bundle(files, tmp_path / "empty")
    assert write_bundle(files, folder) == folder, "the same again"
    with pytest.raises(InputError, match="there is something else already"):
        write_bundle({**files, "README.md": b"another"}, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in ("mine", "file"):
        with pytest.raises(InputError, match="there is something else already"):
            write_bundle(files, tmp_path / taken)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []


def test_an_export_that_is_not_exact_enough_is_refused(champion, bundle_of):
    with pytest.raises(InputError, match=r"model\.onnx: its scores differ .* Nothing was released"):
        bundle_of(champion, onnx_tolerance=1e-12)


def test_what_has_removed_data_in_it_is_not_released(world, champion, bundle_of):
    world.removed.add(champion.checkpoint_sha256)
    with pytest.raises(InputError, match="removed data is in it"):
        bundle_of(champion)


def test_a_scorer_that_was_never_evaluated_has_no_figures_to_publish(world, bundle_of):
    with pytest.raises(InputError, match="it was never evaluated"):
        bundle_of(world.candidate())


def test_verifying_says_which_version_it_is_and_how_exact_its_graph(folder, champion):
    bundle = verify_bundle(folder, tolerance=1e-3)
    assert (bundle.model, bundle.version) == ("selfai-scorer", champion.version)
    assert bundle.fingerprint == hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    assert bundle.parity is not None
    assert bundle.parity.random == 16


@pytest.mark.parametrize("name", FILES)
def test_one_altered_byte_in_any_file_is_named(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(AlteredVersion, match=rf"{re.escape(name)}: its bytes hash to"):
        read_bundle(folder)


def replaced(folder, **contents):
    """Other contents under a list of hashes that fits them: what somebody would do who tampers with care."""
    files = {name: (folder / name).read_bytes() for name in FILES} | {
        name.replace("_json", ".json").replace("model_", "model."): content
        for name, content in contents.items()
    }
    for name, content in {**files, SUMS: sums_of(files)}.items():
        (folder / name).write_bytes(content)


def test_a_list_of_hashes_that_was_forged_does_not_help(folder, bundle_of, world):
    other = bundle_of(world.candidate(fitted_to=7, evaluated=True))
    release = (folder / "release.json").read_bytes()
    replaced(folder, model_onnx=other["model.onnx"])
    with pytest.raises(InputError, match="differ from those of the network"):
        verify_bundle(folder, tolerance=1e-3)
    replaced(folder, model_safetensors=other["model.safetensors"])
    with pytest.raises(AlteredVersion, match=r"it names other weights than model\.safetensors"):
        read_bundle(folder)
    replaced(folder, model_safetensors=b"no tensors", release_json=release)
    with pytest.raises(AlteredVersion):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"stages_json": b"[]"}, "no network can be built"),
        ({"stages_json": b"{"}, "this is no JSON"),
        ({"stages_json": b"\xff"}, "this is no text"),
        ({"stages_json": b"[" * 100_000}, "this is no JSON"),
        ({"release_json": b'{"format": 2}'}, "the bundle has the format 2, this code reads 1"),
        ({"release_json": b'{"format": 1, "version": true, "input_size": 32}'}, "version is True"),
        ({"release_json": b'{"format": 1, "version": 1, "input_size": 1e9}'}, "input_size is 1000000000.0"),
    ],
)
def test_hostile_contents_are_a_sentence(folder, contents, message):
    replaced(folder, **contents)
    with pytest.raises((AlteredVersion, InputError), match=message):
        read_bundle(folder)


def test_what_is_missing_too_much_or_no_plain_file_is_named(folder, tmp_path):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(AlteredVersion, match=r"notes\.txt: a bundle holds no such thing"):
        read_bundle(folder)
    (folder / "notes.txt").unlink()
    card = folder / "README.md"
    card.rename(tmp_path / "README.md")
    with pytest.raises(AlteredVersion, match=r"README\.md: it is missing"):
        read_bundle(folder)
    card.symlink_to(tmp_path / "README.md")
    with pytest.raises(AlteredVersion, match="a bundle holds no such thing"):
        read_bundle(folder)
    with pytest.raises(InputError, match="this is no release bundle"):
        read_bundle(tmp_path)


def test_entries_that_lead_out_of_the_folder_or_come_twice_are_refused(folder):
    sums = (folder / SUMS).read_text()
    for line in (f"{'0' * 64}  ../secret\n", sums.splitlines(keepends=True)[0], "nonsense\n"):
        (folder / SUMS).write_text(sums + line)
        with pytest.raises(AlteredVersion, match=r"SHA256SUMS, line 10: this is no entry of a bundle"):
            read_bundle(folder)

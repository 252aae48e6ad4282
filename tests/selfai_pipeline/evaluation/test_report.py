"""Evaluation and report over a small world, through the real scorer, tables and template."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion, StorageError
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State, write_outcomes
from selfai_pipeline.evaluation.champion import Champion
from selfai_pipeline.evaluation.report import evaluate, write_report
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.tables import Record, TableRef
from selfai_pipeline.training.settings import ComputeSettings

MakeWorld = Callable[..., Any]
HOSTILE = '"><script>alert(1)</script><img src=http://example.org/x onerror=alert(1)> $x_{ {{ 7*7 }}'


class Page(HTMLParser):
    """What a browser would load and show."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.shown.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).replace("\N{NO-BREAK SPACE}", " ").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def evaluated(world: Any, settings: EvaluationSettings, compute: ComputeSettings) -> TableRef:
    return evaluate(world.scorer, world.labels, store=world.store, settings=settings, compute=compute)


def reported(
    world: Any,
    settings: EvaluationSettings,
    compute: ComputeSettings,
    *,
    champion: Champion | None = None,
) -> Path:
    return write_report(
        evaluated(world, settings, compute),
        scorer=world.scorer,
        labels=world.labels,
        store=world.store,
        settings=settings,
        compute=compute,
        champion=champion,
    )


def test_the_table_holds_the_test_faces_and_its_facts_the_figures(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    ref = evaluated(world, settings, compute)

    rows = world.store.tables.read(ref).to_pylist()
    facts = world.store.tables.facts(ref)
    labels = world.store.tables.read(world.labels).to_pylist()
    assert [row["image_id"] for row in rows] == [row["image_id"] for row in labels if row["split"] == "test"]
    assert facts["faces"] == ref.rows == 20
    assert facts["pearson"]["value"] == pytest.approx(
        np.corrcoef([row["score"] for row in rows], [row["predicted"] for row in rows])[0, 1]
    )
    assert facts["pearson"]["value"] > 0.9
    assert facts["pearson"]["low"] < facts["pearson"]["value"] < facts["pearson"]["high"]
    ceiling = np.sqrt(1 - 0.4**2 / np.var([row["score"] for row in rows], ddof=1))
    assert facts["noise_ceiling"] == pytest.approx(ceiling), "of the test faces, not of the table"
    assert facts["noise_ceiling_of_all"] == 0.95
    assert facts["share_of_ceiling"]["value"] == pytest.approx(facts["pearson"]["value"] / ceiling)
    assert (facts["scorer"], facts["labels"]) == (world.scorer.sha256, world.labels.sha256)
    assert facts["split_counts"] == {"test": 20, "train": 40, "validation": 20}
    assert facts["headline"].startswith("Pearson 0.9")
    assert rows[0]["low"] == pytest.approx(max(0, rows[0]["predicted"] - 0.9))
    assert rows[0]["high"] == pytest.approx(min(9, rows[0]["predicted"] + 0.9))
    inside = np.mean([row["low"] <= row["score"] <= row["high"] for row in rows])
    levels = {level["coverage"]: level for level in facts["intervals"]["levels"]}
    assert levels[0.9]["covered"]["value"] == pytest.approx(inside)
    assert facts["calibration"]["slope"]["value"] == pytest.approx(1, abs=0.2)


def test_evaluating_again_gives_the_same_hash_and_the_same_page(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    path = reported(world, settings, compute)
    first = path.read_bytes(), (path.parent / "report.json").read_bytes()

    assert reported(world, settings, compute) == path
    assert (path.read_bytes(), (path.parent / "report.json").read_bytes()) == first
    assert path.parent.name == evaluated(world, settings, compute).sha256
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html", "report.json"]


def test_the_page_carries_everything_inside_and_describes_every_picture(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    page = Page(reported(world, settings, compute))

    assert not page.all("script")
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    assert all(len(image["alt"] or "") > 20 for image in page.all("img"))
    assert all((link["href"] or "").startswith("#") for link in page.all("a"))
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {(link["href"] or "")[1:] for link in page.all("a")} <= anchors
    policies = [one["content"] for one in page.all("meta") if one.get("http-equiv")]
    assert policies[0] is not None
    assert policies[0].startswith("default-src 'none'; img-src data:")
    assert any(one.get("name") == "viewport" for one in page.all("meta"))
    # Three charts on agreement, two on data, two learning curves; 3 x 2 maps and the mean map; 3 x 4 faces.
    assert len(page.all("img")) == 7 + 7 + 12


def test_the_page_says_what_was_measured_and_what_scores_are_not(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    text = Page(reported(world, settings, compute)).text

    assert "On 20 test faces that training did not see" in text
    assert "95 % interval" in text
    assert "impression of a crowd" in text
    assert "not a fact about the person" in text
    assert "not for decisions about anyone" in text
    assert "the portraits are rendered" in text
    assert "ratings are simulated" in text
    assert "the label table names no group" in text
    assert "score for a stated share of 18 validation faces" in text
    assert "none: 19 faces are needed, here are 18" in text
    assert "The validation faces also chose the epoch that was kept" in text
    assert "No comparison: no other scorer has been champion yet." in text
    assert "ResNeXt-50, from ImageNet SCUT-FBP5500, 60/40 split 0.878" in text
    assert "no record names the crawl days that the label table was made from" in text
    assert "Not measured on this label table. Materialize the partitions share_8" in text
    assert text.count("Net2Net grew the network (1: wider conv13 1.25 after epoch 2)") == 1
    assert text.count("Kept: epoch 2, the best on the validation split.") == 2
    assert text.count("The two losses do not compare") == 1, "of pre-training on ranks"
    for sha256 in (world.labels.sha256, world.scorer.sha256, world.widened.sha256, world.siamese.sha256):
        assert sha256 in text
    assert "nan" not in text.lower().split()


def test_figures_for_programs_lie_beside_the_page(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    path = reported(world, settings, compute)

    def no_constant(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    content = (path.parent / "report.json").read_text(encoding="utf-8")
    written = json.loads(content, parse_constant=no_constant)
    assert written["schema_version"] == 1
    assert written["figures"]["faces"] == 20
    assert written["champion"]["reason"].startswith("no other scorer has been champion")
    assert written["drift"]["days"] == written["training_size"]["sizes"] == []
    assert [one["pearson"] for one in written["published"]][:4] == [0.68, 0.73, 0.82, 0.84]
    rows = world.store.tables.read(world.labels).to_pylist()
    assert not any(row["image_id"] in content or row["crop_sha256"] in content for row in rows)
    assert [one["asset"] for one in written["origin"]["checkpoints"]] == [
        "siamese_checkpoint",
        "widened_checkpoint",
        "finetuned_scorer",
    ]
    assert written["origin"]["evaluation_settings"]["bootstrap_draws"] == 300


def test_photographs_are_not_called_rendered_and_names_from_outside_are_text(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    scores = np.linspace(0.5, 8.5, 40).tolist()
    world = make_world(
        scores, splits=["test"] * 36 + ["train"] * 4, groups=[HOSTILE] * 30 + ["few"] * 10, source="faces"
    )

    page = Page(reported(world, settings, compute))

    assert "rendered" not in page.text
    assert HOSTILE in " ".join(page.shown)
    assert "1 group has fewer than 15 test faces (6 faces together)" in page.text
    assert not page.all("script")
    assert all(set(image) == {"src", "alt"} for image in page.all("img"))


def test_a_scorer_without_intervals_is_said_to_have_none(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    world = make_world(np.linspace(0.5, 8.5, 40).tolist(), intervals=None)
    page = Page(reported(world, settings, compute))
    assert "No interval: the scorer was trained without calibrated intervals" in page.text
    assert "score is its 90" not in page.text
    rows = world.store.tables.read(evaluated(world, settings, compute)).to_pylist()
    assert {(row["low"], row["high"]) for row in rows} == {(None, None)}


def test_the_champion_stands_beside_the_scorer_and_its_name_is_text(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    scores = np.linspace(0.5, 8.5, 80).tolist()
    groups = [HOSTILE] * 80
    former = make_world(scores, groups=groups, change=lambda network: network.head.weight.mul_(0.2))
    world = make_world(scores, groups=groups)

    path = reported(world, settings, compute, champion=Champion(former.scorer, HOSTILE))

    page = Page(path)
    assert "on 20 test faces that neither has learnt from" in page.text
    assert not page.all("script")
    assert f"This scorer minus {HOSTILE}" in " ".join("".join(page.shown).split())
    assert former.scorer.sha256 in page.text
    written = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))["champion"]
    assert written["name"] == HOSTILE
    assert written["groups"][0]["group"] == HOSTILE
    assert written["mean_absolute_error"]["value"] < 0


@pytest.mark.parametrize(
    ("half", "whole", "change", "finding"),
    [
        (2.0, 0.5, "+0.", "would most likely help"),
        (0.5, 2.0, "\N{MINUS SIGN}0.", "got worse"),
        (0.5, 0.5, "0.000", "does not exclude 0"),
    ],
)
def test_the_page_shows_the_curve_over_training_faces_where_it_was_measured(
    world: Any,
    settings: EvaluationSettings,
    compute: ComputeSettings,
    half: float,
    whole: float,
    change: str,
    finding: str,
) -> None:
    tested = [row for row in world.store.tables.read(world.labels).to_pylist() if row["split"] == "test"]
    truth = np.array([row["score"] for row in sorted(tested, key=lambda row: row["image_id"])])
    for name, noise in (("share_2", half), ("siamese_net2net", whole)):
        predicted = truth + np.random.default_rng(0).normal(0, noise, len(truth))
        done = Outcome(name, 0, State.FINISHED, pearson=0.5, predicted=predicted.tolist())
        ref = write_outcomes([done], arm=name, store=world.store, facts={"labels": world.labels.sha256})
        world.store.tables.point(Record(ref, code_version="1", settings={}, inputs={}))

    page = Page(reported(world, settings, compute))

    assert f"The last doubling of the training faces changed the correlation by {change}" in page.text
    findings = {
        one for one in ("would most likely help", "got worse", "does not exclude 0") if one in page.text
    }
    assert findings == {finding}
    assert "Not run yet: share_8, share_4." in page.text
    assert any("number of training faces" in str(image["alt"]) for image in page.all("img"))
    assert "ablation_run, share_2" in page.text


def test_a_mix_of_rendered_and_real_faces_is_said(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings, label_rows: Any
) -> None:
    world = make_world(np.linspace(0.5, 8.5, 40).tolist())
    rows = world.store.tables.read(world.labels).to_pylist()
    mixed = [{**row, "source": "faces" if number % 2 else row["source"]} for number, row in enumerate(rows)]
    labels = world.store.tables.write(mixed, asset="balanced_label_table", facts={})
    evaluation = evaluate(world.scorer, labels, store=world.store, settings=settings, compute=compute)

    text = Page(
        write_report(
            evaluation,
            scorer=world.scorer,
            labels=labels,
            store=world.store,
            settings=settings,
            compute=compute,
        )
    ).text

    assert "Partly no real faces" in text
    assert "20 of the rated pictures (of 40)" in text
    assert "faces (20), sample-gallery (20)" in text
    assert "trained on an earlier label table" in text


def test_what_is_not_defined_is_said_in_words(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    def answers_always_the_same(network: Any) -> None:
        network.head.weight.zero_()

    world = make_world(
        np.linspace(0.5, 8.5, 24).tolist(),
        change=answers_always_the_same,
        standard_error=None,
        facts={"noise_ceiling": None, "noise_ceiling_reason": "only means were given"},
    )
    text = Page(reported(world, settings, compute)).text

    assert "correlation between model and crowd is not defined: all predicted scores are equal" in text
    assert "not known: only means were given" in text
    assert "Mean absolute error" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize("faces", [1, 2, 3])
def test_a_handful_of_test_faces_still_gives_a_report(
    faces: int, make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    splits = ["test"] * faces + ["train"] * (12 - faces)
    text = Page(reported(make_world(np.linspace(1, 8, 12).tolist(), splits=splits), settings, compute)).text

    assert f"On {faces} test face" in text
    assert ("there is only one face" if faces == 1 else f"{faces} independent faces are too few") in text


def test_everything_that_can_be_switched_off_is_said_to_be(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    off = ("occlusion_faces", "occlusion_mean_faces", "gallery_faces", "drift_days")
    bare = settings.model_copy(update=dict.fromkeys(off, 0))
    page = Page(reported(world, bare, compute))

    assert "Occlusion maps are switched off" in page.text
    assert "Galleries are switched off" in page.text
    assert "it is switched off (drift_days or drift_faces is 0)" in page.text
    assert len(page.all("img")) == 7


def test_a_label_table_without_test_faces_is_refused(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    world = make_world([1.0, 5.0, 8.0], splits=["train", "train", "validation"])

    with pytest.raises(InputError, match=r"no face is in the test split.*test_share"):
        evaluated(world, settings, compute)


def test_a_scorer_that_has_seen_the_test_faces_is_refused(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    scores = [1.0, 3.0, 5.0, 7.0]
    earlier = make_world(scores, splits=["train", "train", "train", "test"])
    now = make_world(scores, splits=["test", "train", "train", "test"])

    with pytest.raises(InputError, match="has seen 1 of 2 faces"):
        evaluate(earlier.scorer, now.labels, store=now.store, settings=settings, compute=compute)


def test_a_scorer_without_finite_scores_is_named(
    make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    world = make_world(np.linspace(1, 8, 12).tolist(), change=lambda network: network.head.bias.fill_(np.inf))

    with pytest.raises(InputError, match="no finite score for 3 of 3 test faces"):
        evaluated(world, settings, compute)


def test_a_missing_and_an_altered_crop_are_errors_not_figures(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    tested = [row for row in world.store.tables.read(world.labels).to_pylist() if row["split"] == "test"]
    crop = world.store.files.local_path(world.store.crops.relative_path(tested[3]["crop_sha256"]))
    crop.write_bytes(crop.read_bytes()[:-1])
    with pytest.raises(AlteredVersion):
        evaluated(world, settings, compute)
    crop.unlink()
    with pytest.raises(MissingVersion):
        evaluated(world, settings, compute)


def test_a_report_of_another_scorer_is_refused(
    world: Any, make_world: MakeWorld, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    other = make_world([1.0, 3.0, 5.0, 7.0])

    with pytest.raises(InputError, match="another version of finetuned_scorer"):
        write_report(
            evaluated(world, settings, compute),
            scorer=other.scorer,
            labels=world.labels,
            store=world.store,
            settings=settings,
            compute=compute,
        )


def test_a_place_that_cannot_be_written_is_named(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    world.store.home.reports.parent.mkdir(parents=True, exist_ok=True)
    world.store.home.reports.write_text("a file where the folder should be")

    with pytest.raises(StorageError, match="cannot be written"):
        reported(world, settings, compute)


def test_crops_of_different_sizes_are_scored_in_place(
    world: Any, settings: EvaluationSettings, compute: ComputeSettings
) -> None:
    """Days that were aligned at another crop size mix with the rest."""
    import cv2

    rows = world.store.tables.read(world.labels).to_pylist()
    changed = next(row for row in rows[1:] if row["split"] == "test")
    small = cv2.imdecode(
        np.frombuffer(world.store.crops.get(changed["crop_sha256"]), np.uint8), cv2.IMREAD_COLOR
    )
    _, content = cv2.imencode(".png", cv2.resize(small, (96, 96), interpolation=cv2.INTER_NEAREST))
    changed["crop_sha256"] = world.store.crops.put(bytes(content))
    labels = world.store.tables.write(rows, asset="balanced_label_table", facts={})

    def predicted(table: TableRef) -> list[float]:
        ref = evaluate(world.scorer, table, store=world.store, settings=settings, compute=compute)
        return list(world.store.tables.read(ref, ["predicted"])["predicted"].to_pylist())

    assert predicted(labels) == pytest.approx(predicted(world.labels), abs=0.3)


def test_settings_refuse_a_patch_that_leaves_gaps() -> None:
    with pytest.raises(ValueError, match="occlusion_stride has to be at most occlusion_patch"):
        EvaluationSettings(occlusion_patch=0.1, occlusion_stride=0.2)


def test_the_defaults_of_the_sample_are_valid_settings() -> None:
    assert EvaluationSettings(**EvaluationSettings.sample).occlusion_patch == 0.25

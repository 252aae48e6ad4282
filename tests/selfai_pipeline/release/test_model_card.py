"""The model card is made of recorded facts alone, and says what is not stated."""

from dataclasses import replace

import pytest
import yaml
from pydantic import ValidationError

from selfai_pipeline.release.model_card import LONGEST_DESCRIPTION, description, model_card
from selfai_pipeline.release.published_words import published, published_licence
from selfai_pipeline.release.recorded import Pictures, Recorded, recorded_facts
from selfai_pipeline.release.settings import ReleaseSettings
from selfai_pipeline.training.settings import FinetuneSettings, Pairing, SiameseSettings, WidenSettings


def estimate(value, spread=0.05):
    return {
        "value": value,
        "low": value - spread,
        "high": value + spread,
        "why_no_value": "",
        "why_no_interval": "",
    }


NO_ESTIMATE = {
    "value": None,
    "low": None,
    "high": None,
    "why_no_value": "all predicted scores are equal",
    "why_no_interval": "all predicted scores are equal",
}

FACTS = Recorded(
    model="selfai-scorer",
    version=3,
    checkpoint_sha256="1" * 64,
    weights_sha256="2" * 64,
    input_size=112,
    framing=0.75,
    parameters=123_456,
    architecture=[{"kind": "convolution"}, {"kind": "convolution"}, {"kind": "head"}],
    stages=[
        {
            "asset": "siamese_checkpoint",
            "sha256": "3" * 64,
            "settings": {"seed": 7},
            "epochs": 12,
            "growth": ["wider conv13 1.25"],
        },
        {"asset": "finetuned_scorer", "sha256": "1" * 64, "settings": {}, "epochs": 1, "growth": []},
    ],
    figures={
        "faces": 120,
        "clusters": 100,
        "confidence": 0.95,
        "pearson": estimate(0.81),
        "spearman": estimate(0.79),
        "mean_absolute_error": estimate(0.7),
        "root_mean_square_error": estimate(0.9),
        "bias": estimate(-0.1),
        "noise_ceiling": 0.93,
        "noise_ceiling_reason": "from the standard errors of every face",
        "share_of_ceiling": estimate(0.87),
        "calibration": {"slope": estimate(0.97), "bins": []},
        "subgroups": {
            "shown": [
                {
                    "group": "older",
                    "faces": 40,
                    "pearson": estimate(0.7),
                    "bias": estimate(0.3),
                    "covered": estimate(0.85),
                }
            ],
            "small_groups": 2,
            "small_groups_faces": 9,
            "ungrouped_faces": 0,
        },
    },
    labels={
        "annotators": 12,
        "ratings": 3600,
        "means": 0,
        "counts": {"train": 900, "validation": 180, "test": 120},
        "krippendorff_alpha": 0.55,
        "noise_ceiling": 0.93,
        "sha256": "4" * 64,
        "rows": 1200,
    },
    alignment=[{"crop_size": 224, "eye_distance": 0.25, "eye_height": 0.46}],
    sources=(Pictures(1100, 30, ("CC BY 4.0",), 0, False), Pictures(100, 1, (), 1, False)),
    evaluation_sha256="5" * 64,
    intervals={
        "faces": 150,
        "levels": [
            {"coverage": 0.9, "half_width": 1.42, "reason": ""},
            {"coverage": 0.95, "half_width": None, "reason": "200 faces are needed"},
        ],
    },
    coverage={"levels": [{"coverage": 0.9, "covered": estimate(0.91)}]},
)


def front_matter(card):
    head, _, _ = card.removeprefix("---\n").partition("\n---\n")
    return yaml.safe_load(head)


def test_the_card_says_figures_with_intervals_and_ceiling_subgroups_and_hashes():
    card = model_card(FACTS)
    for words in (
        "# selfai-scorer version 3",
        "| Pearson correlation with the crowd | 0.810 | 0.760 to 0.860 |",
        "The noise ceiling is 0.930",
        "| older | 40 | 0.70 (0.65 to 0.75) | +0.30 (+0.25 to +0.35) | 85\N{NO-BREAK SPACE}% |",
        "| slope of the crowd's score on the model's (1: calibrated) | 0.97 |",
        "2\N{NO-BREAK SPACE}subgroups with few faces (9\N{NO-BREAK SPACE}faces) not shown",
        "- 90\N{NO-BREAK SPACE}% of faces: score ± 1.42; of the test faces 91 % (86 to 96) lie inside",
        "12\N{NO-BREAK SPACE}annotators, with 3,600 single ratings",
        "900 train, 180 validation, 120 test",
        "12\N{NO-BREAK SPACE}epochs, `seed` 7",
        "made larger (Net2Net): `wider conv13 1.25`.",
        "224 px a side",
        "the network sees the centre, 75\N{NO-BREAK SPACE}% of the side",
        "`" + "4" * 64 + "`",
    ):
        assert words in card, words


def test_the_card_says_in_plain_words_what_a_score_is_and_who_must_not_be_scored():
    card = model_card(FACTS)
    assert "impression of a crowd, not a fact about a person. It is not for decisions about anyone." in card
    assert "**Who must not be scored:** children" in card
    assert "anybody who has not agreed to it" in card


def stage(asset, growth=(), ran=0, **settings):
    return {
        "asset": asset,
        "sha256": "3" * 64,
        "settings": settings,
        "epochs": ran,
        "growth": list(growth),
    }


def method(*stages):
    return model_card(replace(FACTS, stages=list(stages))).partition("## Method")[2].partition("\n## ")[0]


def recorded(settings, **changed):
    return {**settings().model_dump(mode="json"), **changed}


def test_the_method_is_written_from_what_the_run_recorded():
    text = method(
        stage("siamese_checkpoint", ["wider conv13 1.25"], 48, **recorded(SiameseSettings, seed=3)),
        stage("widened_checkpoint", **recorded(WidenSettings, factor=1.5)),
        stage("finetuned_scorer", ran=40, **recorded(FinetuneSettings, huber_delta=0.8, dropout=0.25)),
    )
    for words in (
        "the more the scores of two faces differ, the further apart it is to place them (`pairing` "
        "rank_n_contrast, `temperature` 0.2, `rank_distance` l2).",
        "drawn more often than others, but still seen less in all (`balance_power` 0.5).",
        "made larger (Net2Net): `wider conv13 1.25`; training ended before `deeper conv13`.",
        "48\N{NO-BREAK SPACE}epochs, `batch_size` 32, `learning_rate` 0.001, `seed` 3.",
        "every layer gets 1.5 times as many channels, and the network computes the same as before "
        "(`factor` 1.5, `copies` unequal_shares).",
        "(Huber loss, `huber_delta` 0.8).",
        "(`dropout` 0.25).",
        "`learning_rate` 0.003, `trunk_rate` 0.3, `seed` 0.",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("power", "words"),
    [
        (0.0, "Every face is drawn equally often"),
        (0.3, "drawn more often than others"),
        (1.0, "rare scores are seen as often as common ones"),
    ],
)
def test_rare_scores_are_said_to_be_favoured_only_where_they_were(power, words):
    text = method(stage("finetuned_scorer", balance_power=power))
    assert words in text
    assert f"(`balance_power` {power})" in text
    assert ("rare" in text) == (power > 0)


@pytest.mark.parametrize("pairing", Pairing)
def test_each_pairing_is_named_and_has_words_of_its_own(pairing):
    texts = [method(stage("siamese_checkpoint", **recorded(SiameseSettings, pairing=one))) for one in Pairing]
    (text,) = (one for one in texts if f"`pairing` {pairing}" in one)
    meaning = text.partition("pairs of faces; ")[2].partition(" (")[0]
    assert sum(meaning in one for one in texts) == 1
    assert ("`temperature`" in text) == (pairing is Pairing.RANK_N_CONTRAST) != ("`margin`" in text)


@pytest.mark.parametrize(
    ("growth", "plan", "words"),
    [
        ([], [], "kept its shape, as planned."),
        ([], ["deeper conv13"], "not made larger: training did not stall before its end (planned: `deeper"),
        (["deeper conv13"], ["deeper conv13"], "made larger (Net2Net): `deeper conv13`."),
    ],
)
def test_growth_is_told_as_it_happened(growth, plan, words):
    assert words in method(stage("siamese_checkpoint", growth, growth_plan=plan))


def test_a_widening_that_is_not_exact_is_not_called_exact():
    text = method(stage("widened_checkpoint", factor=2.0, copies="zeroing_noise"))
    assert "computes nearly the same" in text


def test_what_an_older_record_lacks_is_left_out():
    text = method(
        stage("siamese_checkpoint"),
        stage("widened_checkpoint"),
        stage("finetuned_scorer", pairing="of another time"),
        stage("of_another_project", ran=3),
    )
    assert text.splitlines()[4:] == [
        "1. Siamese pre-training: the network learns to compare pairs of faces.",
        "2. Widening: every layer gets more channels, and the network computes the same as before.",
        "3. Fine-tuning: the network learns the crowd's scores.",
        "4. of_another_project. 3\N{NO-BREAK SPACE}epochs.",
    ]
    unknown = method(stage("siamese_checkpoint", pairing="of another time"))
    assert "pairs of faces (`pairing` of another time)." in unknown


def test_what_nobody_stated_is_said_to_be_not_stated():
    card = model_card(FACTS)
    assert "- Consent of the people in the pictures: not stated." in card
    assert "- Licence of the weights: not stated." in card
    assert "| 2 | 100 | 1 | stated in words that are not repeated here |" in card
    bare = replace(
        FACTS,
        sources=(Pictures(5, 1, (), 0, False),),
        intervals={"faces": 0, "levels": []},
        coverage={},
        alignment=[],
        labels={**FACTS.labels, "krippendorff_alpha": None, "ratings": 0, "means": 40, "counts": {}},
        figures={
            **FACTS.figures,
            "noise_ceiling": None,
            "noise_ceiling_reason": "only means were given",
            "pearson": NO_ESTIMATE,
            "subgroups": {"shown": [], "small_groups": 0, "small_groups_faces": 0, "ungrouped_faces": 9},
        },
    )
    card = model_card(bare)
    for words in (
        "| 1 | 5 | 1 | not stated |",
        "The noise ceiling is not known: only means were given.",
        "not defined: all predicted scores are equal",
        "Not known: the scorer was trained without calibrated intervals",
        "whether the model is worse for some people than for others is **not known**",
        "from 40\N{NO-BREAK SPACE}means of a file",
        "Splits: not stated",
    ):
        assert words in card, words
    assert "pearsonr" not in front_matter(card)["metrics"]


def test_the_card_says_who_agreed_to_what_as_it_is_stated():
    stated = ReleaseSettings(consent="Each person signed form 3, 2025.", annotators="Paid 15 an hour")
    assert ReleaseSettings.model_validate(stated.model_dump()) == stated
    card = model_card(replace(FACTS, consent=stated.consent, annotators=stated.annotators))
    assert (
        "- Consent of the people in the pictures: Each person signed form 3, 2025. So says whoever released "
        "the model."
    ) in card
    assert "- Consent and pay of the annotators, and who they are: Paid 15 an hour.\n" in card


@pytest.mark.parametrize("text", ["https://one.example/form", "<b>all</b>", "/home/ann", "a\nb", "a | b"])
def test_what_is_stated_is_a_sentence_that_can_be_published(text):
    for name in ("consent", "annotators"):
        with pytest.raises(ValidationError):
            ReleaseSettings(**{name: text})


def test_rendered_pictures_are_told_at_the_top_and_need_no_consent():
    rendered = replace(FACTS, sources=(Pictures(1100, 30, (), 0, True),))
    card = model_card(rendered)
    assert "**Rendered by a program, and scored by simulated people: all pictures behind this model." in card
    assert "none is needed, nobody is in them" in card
    mixed = replace(FACTS, sources=(Pictures(100, 3, (), 0, True), Pictures(5, 1, (), 0, False)))
    assert "simulated people: 100 of 105 pictures" in model_card(mixed)
    assert "Consent of the people in the pictures: not stated." in model_card(mixed)
    assert "simulated people: 100 of 101 pictures" in model_card(replace(mixed, repeated=4))


def test_the_front_matter_is_that_of_model_cards():
    values = front_matter(model_card(replace(FACTS, licence="Apache-2.0")))
    assert values["license"] == "apache-2.0"
    (result,) = values["model-index"][0]["results"]
    assert {one["type"]: one["value"] for one in result["metrics"]}["pearsonr"] == 0.81
    assert front_matter(model_card(FACTS))["license_name"] == "not-stated"


def test_the_same_facts_give_the_same_card():
    assert model_card(FACTS) == model_card(FACTS)


def test_what_mlflow_shows_is_short_enough_for_its_database():
    figures = {"faces": 20, "pearson": estimate(0.5), "bias": estimate(0)}
    groups = [{"group": f"g{number}", **figures} for number in range(200)]
    many = replace(FACTS, figures={**FACTS.figures, "subgroups": {"shown": groups, "small_groups": 0}})
    assert len(description(many)) <= LONGEST_DESCRIPTION
    assert description(FACTS).startswith("# selfai-scorer version 3")


@pytest.mark.parametrize(
    "text",
    ["CC BY 4.0", "CC0-1.0", "Apache-2.0", "older than 60", "women (25-34)", "Straße, größer", "a & b's"],
)
def test_plain_words_are_published(text):
    assert published(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://one.example/licence",
        "see one.example",
        "www.one.example.",
        "/home/ann/licence.txt",
        "C:\\pictures",
        "ann@one.example",
        "192.168.0.1",
        "<script>",
        "a|b",
        "[x](y)",
        "`rm`",
        "",
        "   ",
        "x" * 81,
    ],
)
def test_what_looks_like_an_address_a_path_or_markup_is_not(text):
    assert published(text) is None


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://creativecommons.org/licenses/by-nc/4.0/", "CC BY-NC 4.0"),
        ("http://creativecommons.org/licenses/by/2.0/deed.en", "CC BY 2.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("https://creativecommons.org.evil.example/licenses/by/4.0/", None),
        ("CC0", "CC0"),
    ],
)
def test_the_address_of_a_known_licence_becomes_its_name(address, name):
    assert published_licence(address) == name


def test_facts_are_gathered_from_the_records_without_names_of_sources(world):
    world.crawl(
        ("sample-gallery", "http://127.0.0.1:8650/a.png", ""),
        ("ann-secret", "https://one.example/b.png", "https://creativecommons.org/licenses/by/4.0/"),
        ("ann-secret", "https://one.example/c.png", "ask ann@one.example"),
    )
    world.label(group=lambda number: "a" if number % 2 else "https://one.example/group")
    version = world.candidate(evaluated=True)
    facts = recorded_facts(version, store=world.store, registry=world.known, settings=ReleaseSettings())
    assert facts.version == version.version
    assert (facts.pictures, facts.rendered) == (3, 1)
    by_rendered = {one.is_rendered: one for one in facts.sources}
    assert by_rendered[False].licences == ("CC BY 4.0",)
    assert by_rendered[False].withheld_licences == 1
    assert [one["group"] for one in facts.figures["subgroups"]["shown"]] == [
        "a",
        "group 2 (its name is not published)",
    ]
    card = model_card(facts)
    assert "one.example" not in card
    assert "ann-secret" not in card

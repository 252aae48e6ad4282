"""Numbers and their absence in words."""

from selfai_pipeline.evaluation.bootstrap import Estimate
from selfai_pipeline.evaluation.words import (
    count,
    headline,
    interval_in_words,
    number,
    percent,
    value_in_words,
)


def test_numbers_have_a_true_minus_and_no_minus_zero() -> None:
    assert number(-0.25) == "\N{MINUS SIGN}0.25"
    assert number(-0.001) == "0.00"
    assert number(0.0, signed=True) == "0.00"
    assert number(1.5, 1, signed=True) == "+1.5"


def test_counts_agree_with_their_noun() -> None:
    assert count(1, "face").replace("\N{NO-BREAK SPACE}", " ") == "1 face"
    assert count(3300, "face").replace("\N{NO-BREAK SPACE}", " ") == "3,300 faces"
    assert count(2, "group has", "groups have").replace("\N{NO-BREAK SPACE}", " ") == "2 groups have"
    assert percent(0.95).replace("\N{NO-BREAK SPACE}", " ") == "95 %"


def test_what_is_not_defined_is_said_with_its_reason() -> None:
    nothing = Estimate(None, why_no_value="all scores are equal", why_no_interval="all scores are equal")

    assert value_in_words(nothing.to_dict()) == "not defined: all scores are equal"
    assert interval_in_words(nothing.to_dict()) == "no interval: all scores are equal"
    assert interval_in_words(Estimate(0.5, -0.1, 0.8).to_dict()) == "\N{MINUS SIGN}0.10 to 0.80"


def test_the_headline_is_one_line_whatever_is_not_known() -> None:
    facts = {
        "faces": 80,
        "pearson": Estimate(0.81, 0.75, 0.86).to_dict(),
        "confidence": 0.95,
        "noise_ceiling": 0.93,
        "noise_ceiling_reason": "",
    }
    unknown = {**facts, "noise_ceiling": None, "noise_ceiling_reason": "only means were given"}
    unsure = {**facts, "pearson": Estimate(0.81, why_no_interval="3 are too few").to_dict()}
    nothing = {**facts, "pearson": Estimate(None, why_no_value="all scores are equal").to_dict()}

    assert headline(facts) == (
        "Pearson 0.810 on 80 test faces (95 % interval 0.750 to 0.860), noise ceiling 0.930"
    )
    assert headline(unknown).endswith("noise ceiling not known: only means were given")
    assert "(no interval: 3 are too few)" in headline(unsure)
    assert headline(nothing).startswith("Pearson not defined: all scores are equal on 80 test faces,")

"""Figures in words: what is not defined is said, never printed as a number that is none."""

from collections.abc import Mapping
from typing import Any


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """`value` with a true minus sign; `signed`: with a plus sign too."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def value_in_words(estimate: Mapping[str, Any], digits: int = 2, *, signed: bool = False) -> str:
    """The value of an `Estimate`, or why there is none."""
    if estimate["value"] is None:
        return f"not defined: {estimate['why_no_value']}"
    return number(estimate["value"], digits, signed=signed)


def interval_in_words(estimate: Mapping[str, Any], digits: int = 2, *, signed: bool = False) -> str:
    """The interval of an `Estimate`, or why there is none."""
    if estimate["low"] is None:
        return f"no interval: {estimate['why_no_interval']}"
    low, high = (number(estimate[end], digits, signed=signed) for end in ("low", "high"))
    return f"{low} to {high}"


def percent(share: float) -> str:
    return f"{number(100 * share, 0)}\N{NO-BREAK SPACE}%"


def count(number_of: int, one: str, many: str = "") -> str:
    """`1 face`, `2 faces`; `many` where it is not `one` with an s."""
    return f"{number_of:,}\N{NO-BREAK SPACE}{one if number_of == 1 else many or one + 's'}"


def headline(facts: Mapping[str, Any]) -> str:
    """Pearson, its interval and the noise ceiling in one line, for a log or a terminal."""
    pearson = facts["pearson"]
    text = f"Pearson {value_in_words(pearson, 3)} on {count(facts['faces'], 'test face')}"
    if pearson["low"] is not None:
        text += f" ({percent(facts['confidence'])} interval {interval_in_words(pearson, 3)})"
    elif pearson["value"] is not None:
        text += f" ({interval_in_words(pearson, 3)})"
    if facts["noise_ceiling"] is None:
        text += f", noise ceiling not known: {facts['noise_ceiling_reason']}"
    else:
        text += f", noise ceiling {number(facts['noise_ceiling'], 3)}"
    return text.replace("\N{NO-BREAK SPACE}", " ")

"""The model card: Markdown with the usual front matter, a pure function of what is recorded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfai_pipeline.evaluation.words import count, interval_in_words, number, percent, value_in_words
from selfai_pipeline.release.comparison import Comparison
from selfai_pipeline.release.decision import finding
from selfai_pipeline.release.intervals import interval_words
from selfai_pipeline.release.method_words import stage_in_words
from selfai_pipeline.release.recorded import Pictures, Recorded

NOT_STATED = "not stated"
LONGEST_DESCRIPTION = 4500
"""Of a registered version: a database of MLflow may hold 5000 characters."""


def model_card(facts: Recorded, *, comparison: Comparison | None = None) -> str:
    """The card of a scorer.

    Args:
        comparison: with the champion before, where it was compared with one.
    """
    sections = [
        _head(facts),
        _uses(),
        _data(facts),
        _method(facts),
        _input(facts),
        _figures(facts),
        _subgroups(facts),
        _intervals(facts),
        *([_comparison(comparison)] if comparison else []),
        _limits(facts),
        _origin(facts),
    ]
    return _front_matter(facts) + "\n" + "\n".join(sections)


def without_front_matter(card: str) -> str:
    """The card as a page shows it that reads no front matter."""
    return card.split("\n---\n", 1)[1].lstrip("\n")


def description(facts: Recorded) -> str:
    """The beginning of the card, for the page of a registered version in MLflow."""
    text = "\n".join([_head(facts), _figures(facts), _subgroups(facts), _uses()])
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 4] + " ..."


def _front_matter(facts: Recorded) -> str:
    import yaml

    figures = facts.figures
    metrics = [
        {"type": kind, "name": name, "value": round(figures[key]["value"], 4)}
        for kind, name, key in (
            ("pearsonr", "Pearson correlation with the crowd", "pearson"),
            ("spearmanr", "Spearman correlation with the crowd", "spearman"),
            ("mae", "Mean absolute error, points of 0..9", "mean_absolute_error"),
            ("rmse", "Root mean square error, points of 0..9", "root_mean_square_error"),
        )
        if figures[key]["value"] is not None
    ]
    licence = (
        {"license": facts.licence.lower()}
        if facts.licence
        else {"license": "other", "license_name": "not-stated"}
    )
    values = {
        **licence,
        "library_name": "selfai",
        "tags": ["image-regression", "faces", "crowd-impressions", "onnx", "safetensors"],
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [
            {
                "name": _name(facts),
                "results": [
                    {
                        "task": {"type": "image-regression", "name": "Scores of faces as a crowd gives them"},
                        "dataset": {
                            "type": "private",
                            "name": f"test split of label table {facts.labels['sha256'][:12]}",
                        },
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)}---\n"


def _name(facts: Recorded) -> str:
    return facts.model if facts.version is None else f"{facts.model} version {facts.version}"


def _head(facts: Recorded) -> str:
    rendered = ""
    if facts.rendered:
        share = "all" if facts.rendered == facts.pictures else f"{facts.rendered:,} of {facts.pictures:,}"
        rendered = (
            f"\n**Rendered by a program, and scored by simulated people: {share} pictures behind this model. "
            "It shows that the pipeline works, and says nothing of real faces.**\n"
        )
    return f"""# {_name(facts)}

Scores pictures of faces from 0 to 9 as a crowd of annotators scored them.

**A score is the impression of a crowd, not a fact about a person. It is not for decisions about anyone.**
{rendered}"""


def _uses() -> str:
    return """## What it is for, and what not

For studying how a crowd scores pictures of faces, and for auditing a pipeline that learns it.

Not for:

- any decision about a person: hiring, admission, credit, insurance, housing, policing, medicine, dating or
  moderation;
- telling who somebody is, or what somebody thinks, feels, can or will do;
- ranking people, or telling anybody that a score is a property of theirs.

**Who must not be scored:** children, and anybody whose age is in doubt; anybody who has not agreed to it;
anybody who cannot refuse, such as an employee, an applicant, a patient or a prisoner.
"""


def _data(facts: Recorded) -> str:
    labels = facts.labels
    sources = count(len(facts.sources), "source")
    lines = [f"{count(facts.pictures, 'picture')} were stored from {sources}:", ""]
    lines += _table(
        ("source", "pictures", "days", "licence of the pictures, as the source states it"),
        [
            (
                f"{number}{' (rendered)' if one.is_rendered else ''}",
                f"{one.stored:,}",
                str(one.days),
                _licences(one),
            )
            for number, one in enumerate(facts.sources, start=1)
        ],
    )
    crowd = [f"{count(labels['rows'], 'face')} were scored"]
    if labels.get("ratings"):
        people = count(labels.get("annotators") or 0, "annotator")
        crowd.append(f"by {people}, with {labels['ratings']:,} single ratings")
    if labels.get("means"):
        crowd.append(
            f"{'and ' if len(crowd) > 1 else 'from '}{count(labels['means'], 'mean', 'means')} of a file"
        )
    splits = ", ".join(f"{faces:,} {split}" for split, faces in (labels.get("counts") or {}).items())
    alpha = labels.get("krippendorff_alpha")
    lines += [
        "",
        " ".join(crowd)
        + f". Splits: {splits or NOT_STATED}; near-duplicates and pictures of one person are on "
        "one side.",
        f"Agreement of the annotators (Krippendorff's alpha, interval): "
        f"{'not known' if alpha is None else number(alpha)}.",
        "",
        f"- Consent of the people in the pictures: {_consent(facts)}",
        f"- Consent and pay of the annotators, and who they are: {_annotators(facts)}",
        f"- Licence of the weights: {facts.licence or NOT_STATED}.",
        "",
    ]
    return "## Data\n\n" + "\n".join(lines)


def _consent(facts: Recorded) -> str:
    if facts.rendered and facts.rendered == facts.pictures:
        return "none is needed, nobody is in them."
    if facts.consent:
        return f"{facts.consent.rstrip('.')}. So says whoever released the model."
    return f"{NOT_STATED}. A licence of a picture is not the consent of the person in it."


def _annotators(facts: Recorded) -> str:
    if facts.rendered and facts.rendered == facts.pictures:
        return "they were simulated."
    return f"{facts.annotators.rstrip('.') or NOT_STATED}."


def _licences(one: Pictures) -> str:
    words = list(one.licences)
    if one.withheld_licences:
        words.append("stated in words that are not repeated here")
    return "; ".join(words) or NOT_STATED


def _method(facts: Recorded) -> str:
    steps = [f"{number}. {stage_in_words(stage)}" for number, stage in enumerate(facts.stages, start=1)]
    layers = sum(stage["kind"] == "convolution" for stage in facts.architecture)
    return (
        "## Method\n\n"
        f"A network of {count(layers, 'convolution')} with ELU and {facts.parameters:,} parameters, without "
        "normalisation. The stages of training:\n\n" + "\n".join(steps) + "\n"
    )


def _input(facts: Recorded) -> str:
    cut = "; ".join(
        f"{one['crop_size']} px a side, eyes level, {one['eye_distance']:g} of the side apart and "
        f"{one['eye_height']:g} of it from the top"
        for one in facts.alignment
    )
    return (
        "## Input and output\n\n"
        f"An upright crop of one face, aligned by five landmarks of RetinaFace ({cut or NOT_STATED}), "
        f"{_framing(facts)}made {facts.input_size} by {facts.input_size} pixels (area means where it "
        "shrinks), RGB. "
        "`preprocessing.json` has every step; in `model.onnx` all behind the resizing is inside the graph. "
        "The output is one number a face, about 0..9 and not clipped.\n"
    )


def _framing(facts: Recorded) -> str:
    if facts.framing == 1.0:
        return ""
    return f"of which the network sees the centre, {percent(facts.framing)} of the side, "


def _figures(facts: Recorded) -> str:
    figures = facts.figures
    sure = percent(figures["confidence"])
    rows = [
        (title, value_in_words(figures[key], digits, signed=signed), _interval(figures[key], digits, signed))
        for title, key, digits, signed in (
            ("Pearson correlation with the crowd", "pearson", 3, False),
            ("as a share of the noise ceiling", "share_of_ceiling", 2, False),
            ("Spearman correlation", "spearman", 3, False),
            ("mean absolute error, points", "mean_absolute_error", 2, False),
            ("root mean square error, points", "root_mean_square_error", 2, False),
            ("bias (model minus crowd), points", "bias", 2, True),
        )
    ]
    ceiling = figures["noise_ceiling"]
    ceiling_text = (
        f"The noise ceiling is not known: {figures['noise_ceiling_reason']}."
        if ceiling is None
        else f"The noise ceiling is {number(ceiling, 3)}: no model can reach more, as the crowd's own scores "
        "are not exact."
    )
    slope = (figures.get("calibration") or {}).get("slope")
    if slope is not None:
        title = "slope of the crowd's score on the model's (1: calibrated)"
        rows.append((title, value_in_words(slope), _interval(slope, 2, False)))
    table = "\n".join(_table(("figure", "value", f"{sure} interval"), rows))
    faces = f"On {count(figures['faces'], 'test face')} ({count(figures['clusters'], 'independent one')})"
    return (
        f"## Figures\n\n{faces}, which no stage of training has learnt from:\n\n{table}\n\n{ceiling_text}\n"
    )


def _interval(estimate: Mapping[str, Any], digits: int, signed: bool) -> str:
    return interval_in_words(estimate, digits, signed=signed)


def _subgroups(facts: Recorded) -> str:
    groups = facts.figures["subgroups"]
    shown = groups.get("shown", [])
    few = groups.get("small_groups", 0)
    text = "## Subgroups\n\n"
    if not shown:
        text += (
            "No subgroup has enough test faces for figures of its own: whether the model is worse for some "
            "people than for others is **not known**.\n"
            if few
            else "The pictures have no column of subgroups: whether the model is worse for some people than "
            "for others is **not known**.\n"
        )
    else:
        rows = [
            (
                _cell(one["group"]),
                f"{one['faces']:,}",
                f"{value_in_words(one['pearson'])} ({_interval(one['pearson'], 2, False)})",
                f"{value_in_words(one['bias'], signed=True)} ({_interval(one['bias'], 2, True)})",
                _share(one.get("covered")),
            )
            for one in shown
        ]
        heads = (
            *("subgroup", "test faces", "Pearson (interval)", "bias, points (interval)"),
            "inside the interval of a score",
        )
        text += "\n".join(_table(heads, rows)) + "\n"
    if few:
        left = count(groups["small_groups_faces"], "face")
        text += f"\n{count(few, 'subgroup')} with few faces ({left}) not shown.\n"
    return text


def _share(covered: Mapping[str, Any] | None) -> str:
    """A share of faces, as an `Estimate`, in percent."""
    if covered is None or covered["value"] is None:
        return "not known"
    return percent(covered["value"])


def _intervals(facts: Recorded) -> str:
    return f"## How sure is one score?\n\n{interval_words(facts.intervals, facts.coverage)}\n"


def _comparison(comparison: Comparison) -> str:
    title = "Beside the champion before" if comparison.champion else "Beside no model at all"
    return f"## {title}\n\n{finding(comparison)}\n"


def _limits(facts: Recorded) -> str:
    lines = [
        "It repeats the taste of its annotators, with whatever they are unjust about. Another crowd would "
        "score otherwise.",
        "Light, make-up, expression, pose, lens and compression move the score; the same person gets "
        "different scores in different pictures.",
        "It gives a score to anything that is cut like a face: drawings, masks and pictures without a face "
        "as well.",
        "Figures hold for faces that came from the same sources and were scored by the same crowd.",
    ]
    if not facts.figures["subgroups"].get("shown"):
        lines.append("Whether it is fair to groups of people was not measured.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _origin(facts: Recorded) -> str:
    rows = [(stage["asset"], f"`{stage['sha256']}`") for stage in facts.stages]
    rows += [
        ("weights (SHA-256 of `model.safetensors`)", f"`{facts.weights_sha256}`"),
        ("balanced_label_table", f"`{facts.labels['sha256']}`"),
        ("evaluation_report", f"`{facts.evaluation_sha256}`"),
    ]
    return (
        "## Where it came from\n\n"
        + "\n".join(_table(("version", "SHA-256"), rows))
        + "\n\nWhoever runs the pipeline can name every picture and rating behind these with "
        "`selfai audit`, and take one out on request with `selfai remove`.\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        f"|{'|'.join(['---'] * len(heads))}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _cell(text: str) -> str:
    """A name from outside inside a table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

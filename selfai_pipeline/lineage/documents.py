"""What an audit found as sections of rows: one form for the terminal, another for a page."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfai_pipeline.lineage.audit import Audit
from selfai_pipeline.lineage.derived import Derived
from selfai_pipeline.lineage.findings import Finding, State
from selfai_pipeline.lineage.picture_history import PictureHistory, Statement
from selfai_pipeline.lineage.promotions import Promotion
from selfai_pipeline.lineage.versions import Making, Version, VersionKey
from selfai_pipeline.tables import WHOLE

IN_WORDS = {
    "raw_crawl": "Where it came from",
    "pruned_set": "What was measured",
    "aligned_faces": "Faces in it",
    "annotations": "Who rated it",
    "balanced_label_table": "As a label",
    "evaluation_report": "As a test face",
    "champion_comparison": "As a face that two scorers were compared on",
}


@dataclass(frozen=True)
class Section:
    """A heading, a table below it, and a sentence where there is something to say."""

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""

    @property
    def is_shown(self) -> bool:
        """Whether a page has anything to say under the heading."""
        return bool(self.rows or self.note)


@dataclass(frozen=True)
class Document:
    title: str
    lead: str
    sections: Sequence[Section]


def as_text(document: Document) -> str:
    """For a terminal: columns are aligned, and no line is broken, so that hashes can be copied."""
    parts = [_visible(document.title), _visible(document.lead)]
    for section in document.sections:
        lines = ["", section.title]
        if section.note:
            lines.append(f"  {_visible(section.note)}")
        if section.rows:
            table = [section.columns] if any(section.columns) else []
            table += [[_visible(cell) for cell in row] for row in section.rows]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += [
                "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                for row in table
            ]
        parts += lines
    return "\n".join(parts)


def _visible(text: str) -> str:
    """Control characters are written out: a name from outside must not clear the screen or forge a line."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def as_page(document: Document) -> str:
    """One HTML page with everything inside it; every value is escaped."""
    from selfai_pipeline.evaluation.page import fill

    return fill("audit.html", folder=Path(__file__).parent, document=document)


def audit_document(audited: Audit, findings: Iterable[Finding] | None = None) -> Document:
    """The chain, asset by asset from the model back to the sources; `findings` where it was verified."""
    by_asset: dict[str, list[Version]] = {}
    for version in audited.versions:
        by_asset.setdefault(version.key.asset, []).append(version)
    name = str(audited.asked or audited.key)
    also = [str(one) for one in audited.registered if one != audited.asked]
    behind = [version for version in audited.versions if version.key != audited.key]
    assets = {version.key.asset for version in behind}
    lead = f"{_count(len(behind), 'version')} of {_count(len(assets), 'asset')} stand behind it"
    sources = ", ".join(use.source for use in audited.sources)
    lead += f"; the pictures came from {sources}." if sources else "."
    sections = [_problems(audited.problems)] if audited.problems else []
    removed = "; ".join(f"{mark}: {mark.reason}" for mark in audited.marks)
    if audited.asked or also:
        registered = [audited.asked, *audited.registered] if audited.asked else list(audited.registered)
        rows = [(str(one), one.checkpoint_sha256, one.mlflow_run) for one in dict.fromkeys(registered) if one]
        note = f"Removed since: {removed}" if removed else ""
        sections.append(Section("Registered", ("version", "checkpoint", "MLflow run"), rows, note))
    elif removed:
        sections.append(Section("Removed since", note=removed))
    if audited.promotions:
        sections.append(_promotions(audited.promotions))
    sections += [_asset_section(asset, versions, audited) for asset, versions in by_asset.items()]
    sections.append(
        Section(
            "Sources",
            ("source", "days", "pictures", "other rows", "licences"),
            [
                (use.source, str(use.days), str(use.stored), str(use.others), "; ".join(use.licences) or "-")
                for use in audited.sources
            ],
        )
    )
    sections += [_settings(audited.versions), _external(audited.versions)]
    if findings is not None:
        sections.append(_verification(list(findings)))
    return Document(f"Audit of {name}", lead, sections)


def derived_document(derived: Derived) -> Document:
    """Everything that came of a selection, with counts."""
    asked = derived.selection
    pictures, crops = _count(len(derived.image_ids), "picture"), _count(len(derived.crops), "crop")
    lead = f"{pictures} and {crops} came of it."
    return Document(f"Derived from {asked.kind} {asked.value}", lead, _derived_sections(derived))


def picture_document(history: PictureHistory) -> Document:
    """What is known of a picture, then what came of it."""
    ids = history.image_ids
    named = ids[0] if len(ids) == 1 else history.derived.selection.value
    sections = []
    for asset, title in IN_WORDS.items():
        statements = history.statements.get(asset, ())
        if asset == "annotations" and statements:
            sections.append(_ratings(title, statements))
        elif statements:
            sections.append(Section(title, ("", ""), _down(statements, several=len(ids) > 1)))
        else:
            sections.append(Section(title, note="No version of a table says anything."))
    learnt = [one for one in history.derived.models if one.has_learnt]
    names = sorted({str(version) for one in learnt for version in one.registered})
    lead = f"Found {history.match}: {_count(len(ids), 'picture')}. "
    lead += f"{_count(len(learnt), 'checkpoint')} learnt from it or were chosen by it"
    lead += f", registered as {', '.join(names)}." if names else ", none of them registered."
    return Document(f"Picture {named}", lead, [*sections, *_derived_sections(history.derived)])


def _problems(problems: Sequence[str]) -> Section:
    return Section("Not all of it could be read", ("",), [(problem,) for problem in problems])


def _promotions(promotions: Sequence[Promotion]) -> Section:
    """The log of promotions; what a person overrode stands behind the reason."""
    rows = [
        (
            str(one.number),
            one.at,
            str(one.kind),
            f"{one.model}@{one.champion.version}",
            f"{one.model}@{one.before.version}" if one.before else "-",
            one.by,
            one.reason + (f" (overridden: {' '.join(one.overridden)})" if one.overridden else ""),
        )
        for one in promotions
    ]
    return Section("Champions", ("", "when", "what", "champion", "before", "by", "reason"), rows)


def _asset_section(asset: str, versions: list[Version], audited: Audit) -> Section:
    rows = []
    for version in versions:
        makings: Sequence[Making | None] = version.makings or (None,)
        for making in makings:
            rows.append(
                (
                    version.key.partition,
                    version.key.sha256,
                    "?" if version.rows is None else str(version.rows),
                    making.code_version or "-" if making else "?",
                    making.run_id or "-" if making else "?",
                    (audited.mlflow_run(version, making) if making else "") or "-",
                    _made_from(making.inputs) if making else "?",
                    _state_of(version),
                )
            )
    several = sum(len(version.makings) > 1 for version in versions)
    note = ""
    if several:
        note = (
            f"{several} of these were made more than once with the same bytes: a line for each time, and the "
            "chain follows them all."
        )
    columns = (
        *("partition", "SHA-256", "rows", "code", "Dagster run", "MLflow run"),
        *("made from", "state"),
    )
    return Section(asset, columns, rows, note)


def _made_from(inputs: Sequence[VersionKey]) -> str:
    counts = Counter(key.asset for key in inputs)
    first = {key.asset: key for key in reversed(inputs)}
    words = [
        f"{asset} {first[asset].sha256[:12]}" if n == 1 else f"{n} partitions of {asset}"
        for asset, n in counts.items()
    ]
    return ", ".join(words) or "-"


def _settings(versions: Sequence[Version]) -> Section:
    """The configurations of each asset, each once with the number of versions that it made."""
    counts: Counter[tuple[str, str]] = Counter()
    for version in versions:
        for making in version.makings:
            counts[version.key.asset, json.dumps(making.settings, sort_keys=True)] += 1
    rows = [(asset, str(n), settings) for (asset, settings), n in counts.items()]
    return Section("Configuration", ("asset", "versions", "settings"), rows)


def _external(versions: Sequence[Version]) -> Section:
    counts: Counter[tuple[str, str, str]] = Counter()
    for version in versions:
        for making in version.makings:
            for name, sha256 in making.external.items():
                counts[version.key.asset, name, sha256] += 1
    rows = [(asset, name, sha256, str(n)) for (asset, name, sha256), n in counts.items()]
    return Section("From outside the graph", ("asset", "what", "SHA-256", "versions"), rows)


def _verification(findings: Sequence[Finding]) -> Section:
    counts = Counter(finding.kind for finding in findings if finding.state is State.INTACT)
    amiss = [finding for finding in findings if finding.state is not State.INTACT]
    note = f"{counts.total()} of {len(findings)} files hash to what they should."
    redacted = sum(finding.state is State.REDACTED for finding in findings)
    if redacted:
        note += f" Removals took rows out of {redacted} more, and what they left is as they left it."
    rows = [(str(one.state), one.kind, one.path, one.reason) for one in amiss]
    intact = [("intact", kind, _count(n, "file"), "") for kind, n in sorted(counts.items())]
    return Section("Verification", ("state", "kind", "file", "why"), [*rows, *intact], note)


def _derived_sections(derived: Derived) -> list[Section]:
    tables = [
        (
            touched.version.key.asset,
            _day(touched.version.key),
            touched.version.key.sha256,
            str(len(touched.rows)),
            _state_of(touched.version),
        )
        for touched in derived.tables
    ]
    models = [
        (
            one.version.key.asset,
            one.version.key.sha256,
            *(str(one.pictures.get(split, 0)) for split in ("train", "validation", "test")),
            ", ".join(map(str, one.registered)) or "-",
        )
        for one in derived.models
    ]
    sections = [_problems(derived.problems)] if derived.problems else []
    return [
        *sections,
        Section(
            "Versions of tables",
            ("asset", "partition", "SHA-256", "rows", "state"),
            tables,
            "Tables about whole label tables (ablations) have no rows of single pictures.",
        ),
        Section(
            "Models",
            ("asset", "SHA-256", "learnt from", "chosen by", "measured on", "registered"),
            models,
            "Pictures by how near to training they came, in any stage of the chain behind the model.",
        )
        if models
        else Section("Models", note="No checkpoint stands on it."),
        Section("Reports", ("",), [(page,) for page in derived.reports])
        if derived.reports
        else Section("Reports", note="No report stands on it."),
    ]


def _ratings(title: str, statements: Sequence[Statement]) -> Section:
    columns = ("annotator", "score", "ratings", "rated at", "origin", "in")
    names = ("annotator", "score", "ratings", "rated_at", "origin")
    rows = [
        (*(_cell(one.values.get(name)) for name in names), _versions(one))
        for one in sorted(statements, key=lambda one: (not one.in_current, str(one.values.get("annotator"))))
    ]
    return Section(title, columns, rows, "A rating without an annotator is a mean.")


def _down(statements: Sequence[Statement], *, several: bool) -> list[tuple[str, str]]:
    """A row a column; what has no value is left out."""
    rows: list[tuple[str, str]] = []
    for one in statements:
        rows += [("", "")] if rows else []
        rows += [
            (name, _cell(value))
            for name, value in one.values.items()
            if value is not None and (name != "image_id" or several)
        ]
        rows.append(("in", _versions(one)))
    return rows


def _versions(statement: Statement) -> str:
    hashes = [key.sha256[:12] for key in statement.versions]
    named = ", ".join(hashes[:3]) + (f" and {len(hashes) - 3} more" if len(hashes) > 3 else "")
    return f"{'the current version' if statement.in_current else 'past versions only'}: {named}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    return str(value)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _day(key: VersionKey) -> str:
    return "-" if key.partition == WHOLE else key.partition


def _state_of(version: Version) -> str:
    state = "current" if version.is_current else "past"
    return f"{state}, redacted ({version.left_as[:12]})" if version.left_as else state

"""What is recorded about a scorer, gathered for its model card and its bundle.

Only what may be published comes out of here: figures and hashes, no id, address or path, no name of a source,
an annotator or a machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.lineage.audit import SourceUse, audit_of
from selfai_pipeline.lineage.registry import RegisteredVersion, Registry
from selfai_pipeline.lineage.versions import Archive, Version, VersionKey
from selfai_pipeline.release.published_words import published, published_licence
from selfai_pipeline.release.settings import ReleaseSettings
from selfai_pipeline.sources.settings import SAMPLE_GALLERY
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, TableRef
from selfai_pipeline.training.conformal import Intervals
from selfai_pipeline.training.provenance import chain_of

FIGURES = (
    *("faces", "clusters", "confidence", "pearson", "spearman", "mean_absolute_error"),
    *("root_mean_square_error", "bias", "noise_ceiling", "noise_ceiling_reason", "share_of_ceiling"),
    "calibration",
)
"""Facts of an evaluation that are published as they are."""

LABEL_FACTS = ("annotators", "ratings", "means", "counts", "krippendorff_alpha", "noise_ceiling")
ALIGNMENT = ("crop_size", "eye_distance", "eye_height")


@dataclass(frozen=True)
class Pictures:
    """Pictures of one source; its licences are those that it states, and may be published."""

    stored: int
    days: int
    licences: tuple[str, ...]
    withheld_licences: int
    is_rendered: bool


@dataclass(frozen=True)
class Recorded:
    """The facts behind a model card, JSON values.

    Attributes:
        repeated: how often pictures count again in `sources`, because another source gave them, too.
        version: of the registered model; None where the checkpoint is not registered.
        stages: one mapping a stage of training: `asset`, `sha256`, `settings`, `epochs`, `growth`.
        framing: the part of a crop's side that the network sees, its centre.
        architecture: the stage list, as `stages_to_json` gives it.
        figures: of the evaluation, see `FIGURES`, and `subgroups`.
        intervals: split-conformal, as the scorer's record keeps them; without levels where there are none.
        coverage: how many test faces they cover, as the evaluation has it.
        licence, consent, annotators: see `ReleaseSettings`; empty where nothing is stated.
        labels: see `LABEL_FACTS`, and `sha256` and `rows`.
        alignment: `crop_size`, `eye_distance` and `eye_height` of each kind of crop that was learnt from.
    """

    model: str
    version: int | None
    checkpoint_sha256: str
    weights_sha256: str
    input_size: int
    framing: float
    parameters: int
    architecture: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    figures: Mapping[str, Any]
    labels: Mapping[str, Any]
    alignment: list[dict[str, Any]]
    sources: tuple[Pictures, ...]
    evaluation_sha256: str
    repeated: int = 0
    intervals: Mapping[str, Any] = field(default_factory=dict)
    coverage: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    consent: str = ""
    annotators: str = ""

    @property
    def rendered(self) -> int:
        """Pictures that a program drew."""
        return sum(one.stored for one in self.sources if one.is_rendered)

    @property
    def pictures(self) -> int:
        """Different pictures of all sources."""
        return sum(one.stored for one in self.sources) - self.repeated


def recorded_facts(
    version: RegisteredVersion, *, store: Store, registry: Registry, settings: ReleaseSettings
) -> Recorded:
    """What the records say about a registered scorer and its evaluation.

    Args:
        settings: what whoever releases it says of licence, consent and annotators.

    Raises:
        InputError: it was never evaluated.
        MissingVersion, AlteredVersion: a record or a table is missing or was altered.
    """
    scorer = CheckpointRef("finetuned_scorer", WHOLE, version.checkpoint_sha256, rows=0)
    stages = chain_of(scorer, store=store)
    record = stages[-1].record
    evaluation = evaluation_of(scorer, store=store)
    facts = store.tables.facts(evaluation)
    labels = store.tables.find("balanced_label_table", WHOLE, facts["labels"])
    label_facts = store.tables.facts(labels)
    audited = audit_of(
        VersionKey(scorer.asset, WHOLE, scorer.sha256), archive=Archive(store), registry=registry
    )
    return Recorded(
        model=version.model,
        version=version.version,
        checkpoint_sha256=scorer.sha256,
        weights_sha256=record["weights_sha256"],
        input_size=int(record["input_size"]),
        framing=float(record.get("framing", 1.0)),
        parameters=int(record["metrics"].get("parameters", 0)),
        architecture=list(record["architecture"]),
        stages=[
            {
                "asset": stage.ref.asset,
                "sha256": stage.ref.sha256,
                "settings": dict(stage.record.get("settings") or {}),
                "epochs": len(stage.history),
                "growth": [str(event["operator"]) for event in stage.growth],
            }
            for stage in stages
        ],
        figures={
            **{name: facts.get(name) for name in FIGURES},
            "subgroups": _published_subgroups(facts.get("subgroups") or {}),
        },
        intervals=Intervals.of_record(record).to_dict(),
        coverage=dict(facts.get("intervals") or {}),
        labels={
            **{name: label_facts.get(name) for name in LABEL_FACTS},
            "sha256": labels.sha256,
            "rows": labels.rows,
        },
        alignment=_alignment(audited.versions),
        sources=tuple(_pictures(use) for use in audited.sources),
        evaluation_sha256=evaluation.sha256,
        repeated=sum(use.stored for use in audited.sources) - audited.pictures,
        licence=settings.licence,
        consent=settings.consent,
        annotators=settings.annotators,
    )


def evaluation_of(scorer: CheckpointRef, *, store: Store) -> TableRef:
    """The evaluation of a scorer: the current one where it is of this scorer, else one on its own labels.

    Raises:
        InputError: there is none.
    """
    current = store.tables.current("evaluation_report")
    records = [*([current] if current else []), *store.tables.records("evaluation_report")]
    of_scorer = [
        record.ref
        for record in records
        if record.inputs.get("finetuned_scorer", {}).get(WHOLE) == scorer.sha256
        and isinstance(record.ref, TableRef)
    ]
    if not of_scorer:
        raise InputError(
            "it was never evaluated",
            where=f"{scorer.asset} {scorer.sha256[:12]}",
            mend="Materialize evaluation_report while it is the current scorer.",
        )
    if current and of_scorer[0] == current.ref:
        return of_scorer[0]
    own = chain_of(scorer, store=store)[-1].inputs.get("labels")
    return min(of_scorer, key=lambda ref: (store.tables.facts(ref).get("labels") != own, ref.sha256))


def _published_subgroups(subgroups: Mapping[str, Any]) -> dict[str, Any]:
    """The subgroups with names that may be published; the others are counted on."""
    shown = [
        {**one, "group": published(str(one["group"])) or f"group {number} (its name is not published)"}
        for number, one in enumerate(subgroups.get("shown", []), start=1)
    ]
    return {**subgroups, "shown": shown}


def _alignment(versions: tuple[Version, ...]) -> list[dict[str, Any]]:
    """The different ways in which the faces of a chain were cut, the usual one first."""
    counts: dict[tuple[Any, ...], int] = {}
    for version in versions:
        if version.key.asset != "aligned_faces":
            continue
        for making in version.makings:
            key = tuple(making.settings.get(name) for name in ALIGNMENT)
            if None not in key:
                counts[key] = counts.get(key, 0) + 1
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return [dict(zip(ALIGNMENT, key, strict=True)) for key in ordered]


def _pictures(use: SourceUse) -> Pictures:
    licences = [published_licence(text) for text in use.licences]
    return Pictures(
        stored=use.stored,
        days=use.days,
        licences=tuple(sorted({text for text in licences if text})),
        withheld_licences=licences.count(None),
        is_rendered=use.source == SAMPLE_GALLERY,
    )

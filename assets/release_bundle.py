"""The champion as a folder that can be published."""

from collections.abc import Iterator

import dagster as dg

from assets.common import OWNERS, check_specs, judged, materialized, number, verdict
from resources.tracking import Tracking
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.release.settings import ReleaseSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot


class ReleaseConfig(defaults_of(ReleaseSettings, section="release_bundle"), dg.Config):  # type: ignore[misc]
    """What the bundle says of itself, and how exact its ONNX graph has to be."""


@dg.asset(group_name="release", kinds={"onnx"}, owners=OWNERS, code_version="2")
def release_bundle(
    context: dg.AssetExecutionContext,
    config: ReleaseConfig,
    champion: Snapshot,
    evaluation_report: Snapshot,
    store: dg.ResourceParam[Store],
    tracking: Tracking,
) -> Snapshot:
    """One folder with the champion: weights, stages, preprocessing, intervals, model card, ONNX, hashes.

    It lies under `releases/` of SELFAI_HOME and holds no picture, address, path or name of a person. Nothing
    is written where onnxruntime and torch differ by more than the tolerance. `selfai release MODEL FOLDER`
    writes the same of any registered version, and `selfai release --verify FOLDER` checks one.
    """
    from selfai_pipeline.lineage.registry import read_registry
    from selfai_pipeline.release.bundle import CARD, PARITY
    from selfai_pipeline.release.model_card import without_front_matter
    from selfai_pipeline.release.model_registry import ModelRegistry
    from selfai_pipeline.release.releasing import write_release
    from selfai_pipeline.removal.marks import removed_inputs

    released = write_release(
        champion.table,
        store=store,
        registry=ModelRegistry(tracking.client()),
        known=read_registry(store.home),
        settings=config,
        removed_inputs=removed_inputs,
    )
    parity = released.values(PARITY)
    figures = {
        "folder": dg.MetadataValue.path(str(released.folder)),
        "fingerprint": released.fingerprint,
        "onnx_largest_difference": number("onnx_largest_difference", parity["largest_difference"]),
        "onnx_parity": dg.MetadataValue.json(parity),
        "model_card": dg.MetadataValue.md(without_front_matter(released.files[CARD].decode())),
    }
    inputs = [champion, evaluation_report]
    return materialized(
        context, {WHOLE: released.ref}, inputs=inputs, settings=config, metadata={WHOLE: figures}
    )


@dg.multi_asset_check(
    specs=check_specs(
        "release_bundle",
        completeness="Every file is in the folder, with the hash that it was made with.",
        sanity="Read back from the folder, the weights load, and the ONNX graph scores as they do.",
        floor="At export, onnxruntime and torch differed by no more than the tolerance, on test faces too.",
    )
)
def release_bundle_checks(
    release_bundle: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of a bundle, from its folder."""
    from selfai_pipeline.release.releasing import differing_files, folder_of_release
    from selfai_pipeline.release.verified_bundle import problem_of_bundle

    asset, ref = "release_bundle", release_bundle.table
    facts = store.tables.facts(ref)
    differing = differing_files(ref, store=store)
    text = f"{len(differing)} of {ref.rows} files are missing or differ" + ": ".join(["", *differing[:1]])
    problem = problem_of_bundle(folder_of_release(ref, store=store), tolerance=facts["parity"]["tolerance"])
    difference, tolerance = facts["parity"]["largest_difference"], facts["parity"]["tolerance"]
    exact = difference <= tolerance and facts["parity"]["faces"] > 0
    measured = (
        f"{difference:.1e} points at most on {facts['parity']['faces']} test faces, {tolerance:.0e} allowed"
    )
    yield from judged(
        store,
        ref,
        [
            verdict(asset, "completeness", not differing, text, differing=len(differing)),
            verdict(asset, "sanity", not problem, problem or "the weights load, and both score alike"),
            verdict(asset, "quality_floor", exact, measured, difference=difference),
        ],
    )

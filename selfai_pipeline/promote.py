"""The commands `selfai promote`, `selfai rollback` and `selfai release`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home

if TYPE_CHECKING:
    from selfai_pipeline.lineage.promotions import Promotion
    from selfai_pipeline.lineage.registry import RegisteredVersion, Registry
    from selfai_pipeline.release.model_registry import ModelRegistry
    from selfai_pipeline.store import Store

BY = click.option("--by", default="", help="Who decides; default: the user of this machine.")
REASON = click.option("--reason", required=True, help="Why, in a sentence; it is kept for ever.")


@click.command()
@click.argument("model")
@REASON
@BY
@click.option("--override", is_flag=True, help="Promote it although the comparison speaks against it.")
def promote(model: str, reason: str, by: str, override: bool) -> None:
    """Make MODEL the champion, by hand and with a reason.

    MODEL is a version of the registered scorer: @3, selfai-scorer@3, @candidate, or the first characters of
    its checkpoint's hash. It is compared with the champion first, on test faces that neither has seen. What
    that says against it can be overridden; that removed data is in it cannot.
    """
    from selfai_pipeline.knobs import defaults_of
    from selfai_pipeline.release.champion import by_hand, opponent_now
    from selfai_pipeline.release.champion import promote as promote_version
    from selfai_pipeline.release.examination import examine
    from selfai_pipeline.release.model_registry import reference
    from selfai_pipeline.release.settings import PromotionSettings
    from selfai_pipeline.removal.marks import removed_inputs
    from selfai_pipeline.tables import TableRef
    from selfai_pipeline.training.settings import ComputeSettings

    store = _opened()
    move = by_hand(reason, store=store, by=by, override=override)
    version, registry, _ = _registered(model, store)
    labels = store.tables.current("balanced_label_table")
    if labels is None or not isinstance(labels.ref, TableRef):
        raise InputError(
            "there is no label table, whose test faces the two are compared on",
            where="balanced_label_table",
            mend="Materialize it first.",
        )
    comparison, decision = examine(
        reference(version),
        opponent_now(version, registry=registry, store=store),
        labels.ref,
        store=store,
        settings=defaults_of(PromotionSettings, section="champion_comparison")(),
        compute=defaults_of(ComputeSettings, section="compute")(),
        removed_inputs=removed_inputs,
    )
    for sentence in (decision.finding, *decision.forbidden):
        click.echo(sentence)
    entry = promote_version(
        version,
        comparison=comparison,
        decision=decision,
        move=move,
        registry=registry,
        store=store,
        removed_inputs=removed_inputs,
    )
    if entry is None:
        click.echo(f"{version.model}@{version.version} is the champion already; nothing was changed")
        return
    for sentence in entry.overridden:
        click.echo(f"overridden: {sentence}")
    _tell(entry)


@click.command()
@REASON
@BY
def rollback(reason: str, by: str) -> None:
    """Take the champion back: the one before it is the champion again."""
    from selfai_pipeline.release.champion import by_hand
    from selfai_pipeline.release.champion import rollback as roll_back
    from selfai_pipeline.removal.marks import removed_inputs

    store = _opened()
    move = by_hand(reason, store=store, by=by)
    _, registry, _ = _registered("", store)
    _tell(roll_back(move=move, registry=registry, store=store, removed_inputs=removed_inputs))


@click.command()
@click.argument("model", required=False)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--verify",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Check a bundle in place of writing one.",
)
def release(model: str | None, folder: Path | None, verify: Path | None) -> None:
    """Write the release bundle of MODEL into FOLDER, or check one with --verify FOLDER.

    MODEL is as for `selfai promote`; @champion is the one in use. FOLDER is new or empty. With --verify the
    exit status is 1 where a file is not whole; removed data in the model is said, and changes no status.
    """
    if verify is not None:
        if model or folder:
            raise click.UsageError("Name the folder behind --verify alone.")
        _verify(verify)
        return
    if not (model and folder):
        raise click.UsageError("Name the MODEL and the FOLDER to write, or --verify and a folder.")
    from selfai_pipeline.knobs import defaults_of
    from selfai_pipeline.lineage.promotions import read_promotions
    from selfai_pipeline.release.bundle import make_bundle, write_bundle
    from selfai_pipeline.release.examination import comparison_of
    from selfai_pipeline.release.settings import ReleaseSettings
    from selfai_pipeline.removal.marks import removed_inputs

    store = _opened()
    version, _, known = _registered(model, store)
    files = make_bundle(
        version,
        store=store,
        registry=known,
        settings=defaults_of(ReleaseSettings, section="release_bundle")(),
        removed_inputs=removed_inputs,
        comparison=comparison_of(read_promotions(store), version.checkpoint_sha256),
    )
    written = write_bundle(files, folder)
    size = sum(map(len, files.values()))
    click.echo(f"{version}: {len(files)} files, {size / 1e6:.1f} MB in {written}")


def _verify(folder: Path) -> None:
    from selfai_pipeline.knobs import defaults_of
    from selfai_pipeline.lineage.promotions import Champion
    from selfai_pipeline.release.model_registry import reference
    from selfai_pipeline.release.releasing import known_bundles, known_weights
    from selfai_pipeline.release.settings import ReleaseSettings
    from selfai_pipeline.release.verified_bundle import verify_bundle
    from selfai_pipeline.removal.marks import removed_inputs
    from selfai_pipeline.store import open_store

    settings = defaults_of(ReleaseSettings, section="release_bundle")()
    bundle = verify_bundle(folder, tolerance=settings.onnx_tolerance)
    assert bundle.parity is not None
    click.echo(
        f"{bundle.model}@{bundle.version}: every file is whole, the weights load, and the ONNX graph is "
        f"within {bundle.parity.largest_difference:.1e} points of them"
    )
    click.echo(f"fingerprint: {bundle.fingerprint}")
    store = open_store(Home.from_environment())
    if bundle.fingerprint in known_bundles(store):
        click.echo("every file is as this SELFAI_HOME released it")
    elif bundle.weights_sha256 == known_weights(bundle.checkpoint_sha256, store=store):
        click.echo("the weights are those of this SELFAI_HOME's checkpoint; of the rest it has no record")
    else:
        click.echo(
            "this SELFAI_HOME has no record of it, and whole is not genuine: compare the fingerprint with "
            "what its publisher says"
        )
        return
    marks = removed_inputs(store, reference(Champion(bundle.version, bundle.checkpoint_sha256)))
    if marks:
        click.echo(f"removed data is in it: {marks[0]}; `selfai release` writes no bundle of it any more")


def _opened() -> "Store":
    """The store.

    Until the command ends no removal begins: what it takes out could be in a version whose marks were looked
    at before.

    Raises:
        InputError: there is no home, or a removal was interrupted.
    """
    from selfai_pipeline.store import open_store
    from selfai_pipeline.turns import writing

    home = Home.existing()
    click.get_current_context().with_resource(writing(home))
    return open_store(home)


def _registered(model: str, store: "Store") -> "tuple[RegisteredVersion, ModelRegistry, Registry]":
    """The version that `model` names (empty: the newest), and the registry, to write and to read.

    Raises:
        InputError: nothing is registered, or nothing of this name.
    """
    from selfai_pipeline.lineage.registry import MODEL, read_registry, tracking_uri
    from selfai_pipeline.lineage.versions import is_hash_prefix
    from selfai_pipeline.release.model_registry import ModelRegistry

    known = read_registry(store.home)
    name, _, wanted = model.partition("@")
    matching = [one for one in known.versions if one.checkpoint_sha256.startswith(name)]
    if is_hash_prefix(name) and len(matching) == 1:
        version = matching[0]
    elif any(one.model == (name or MODEL) for one in known.versions):
        version = known.find(name or MODEL, wanted)
    else:
        registered = ", ".join(map(str, known.versions))
        raise InputError(
            "no scorer of this name is registered",
            where=name or MODEL,
            mend=f"Registered are: {registered}. Or name the first characters of the hash of its checkpoint, "
            "where one version alone has it."
            if registered
            else "`selfai run` trains one, and registers it once its checks have passed.",
        )
    from mlflow import MlflowClient

    return version, ModelRegistry(MlflowClient(tracking_uri(store.home))), known


def _tell(entry: "Promotion") -> None:
    before = f"; before it was {entry.model}@{entry.before.version}" if entry.before else ""
    click.echo(f"{entry.model}@{entry.champion.version} is the champion{before}")
    click.echo(f"entry {entry.number} of the log of promotions; `selfai audit @champion` shows them all")
    click.echo("`selfai release @champion FOLDER` writes what can be published of it")

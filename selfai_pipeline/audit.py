"""The command `selfai audit`: from a model to every picture, and from a picture to every model."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from selfai_pipeline.home import Home

if TYPE_CHECKING:
    from selfai_pipeline.lineage.documents import Document
    from selfai_pipeline.lineage.registry import Registry
    from selfai_pipeline.lineage.versions import Archive


@click.command()
@click.argument("model", required=False)
@click.option("--verify", "verified", is_flag=True, help="Compute every hash of the chain again.")
@click.option("--picture", help="A picture's id (or its first characters), address or file.")
@click.option("--url", help="What was derived from an address.")
@click.option("--host", help="What was derived from a host.")
@click.option("--source", help="What was derived from a source of sources.yaml.")
@click.option("--annotator", help="What was derived from an annotator's ratings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to this file.")
def audit(
    model: str | None,
    verified: bool,
    as_json: bool,
    html: Path | None,
    **asked: str | None,
) -> None:
    """Print the whole chain behind MODEL, or what was derived from a picture, host, source or annotator.

    MODEL is the name of a registered model with @version or @alias (default: the newest version of the
    scorer), or the first characters of the hash of a checkpoint or a table. With --verify the exit status is
    1 where a file does not match its hash, or the chain could not be read whole.
    """
    from selfai_pipeline.lineage.documents import as_page, as_text
    from selfai_pipeline.lineage.registry import read_registry
    from selfai_pipeline.lineage.versions import Archive
    from selfai_pipeline.storage import replace_file
    from selfai_pipeline.store import open_store

    chosen = {kind: value for kind, value in asked.items() if value is not None}
    if len(chosen) > 1 or (chosen and (model or verified)):
        raise click.UsageError(
            "Name one thing: a model (with --verify, if its hashes shall be computed again), a --picture, a "
            "--url, a --host, a --source or an --annotator."
        )
    home = Home.from_environment()
    archive, registry = Archive(open_store(home)), read_registry(home)
    is_sound = True
    if chosen:
        ((kind, value),) = chosen.items()
        document, values = _derived(kind, value, archive, registry)
    else:
        document, values, is_sound = _chain(model, archive, registry, verified=verified)
    if html:
        replace_file(html.absolute(), as_page(document).encode())
    click.echo(json.dumps(values, indent=1, default=str) if as_json else as_text(document))
    if html:
        click.echo(f"page: {html.absolute()}", err=True)
    if not is_sound:
        sys.exit(1)


def _chain(
    model: str | None, archive: "Archive", registry: "Registry", *, verified: bool
) -> tuple["Document", dict[str, Any], bool]:
    """The document and the values of a chain, and whether all of it was read and is intact, if verified.

    What could not be read may hide files that nobody looked at: it is no sound chain either.
    """
    from selfai_pipeline.lineage.audit import audit as audit_chain
    from selfai_pipeline.lineage.documents import audit_document
    from selfai_pipeline.lineage.findings import State
    from selfai_pipeline.lineage.values import audit_values
    from selfai_pipeline.lineage.verification import verify

    audited = audit_chain(model, archive=archive, registry=registry)
    findings = list(verify(audited, archive=archive)) if verified else None
    is_sound = findings is None or not (
        audited.problems or any(one.state not in (State.INTACT, State.REDACTED) for one in findings)
    )
    return audit_document(audited, findings), audit_values(audited, findings), is_sound


def _derived(
    kind: str, value: str, archive: "Archive", registry: "Registry"
) -> tuple["Document", dict[str, Any]]:
    """The document and the values of what came of something."""
    from selfai_pipeline.lineage.derived import Selection, derived_from
    from selfai_pipeline.lineage.documents import derived_document, picture_document
    from selfai_pipeline.lineage.picture_history import picture_history
    from selfai_pipeline.lineage.values import derived_values, picture_values

    if kind == "picture":
        history = picture_history(value, archive=archive, registry=registry)
        return picture_document(history), picture_values(history)
    derived = derived_from(Selection(kind, value), archive=archive, registry=registry)
    return derived_document(derived), derived_values(derived)

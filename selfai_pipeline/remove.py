"""The command `selfai remove`: takes pictures, addresses, hosts, persons and annotators out for good."""

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home

if TYPE_CHECKING:
    from selfai_pipeline.removal.plan import Plan
    from selfai_pipeline.store import Store

LONGEST_WAIT_S = 3600.0
MOST_SHOWN = 20
NONE_INTERRUPTED = "no removal was interrupted"


@click.command()
@click.option("--picture", help="A picture: its id (or its first characters), its address or a file.")
@click.option("--url", help="An address, and the pictures that came from it.")
@click.option("--host", help="A host: all its addresses, and the pictures that came from them.")
@click.option("--person", help="A person: all pictures that the column of persons names so.")
@click.option("--annotator", help="An annotator: their name and all their ratings.")
@click.option("--reason", help="Why, in words that name nobody: it is kept for ever.")
@click.option("--dry-run", is_flag=True, help="List what would go, and change nothing.")
@click.option("--resume", is_flag=True, help="Finish a removal that was interrupted, and do nothing else.")
@click.option("--yes", is_flag=True, help="Do not ask before erasing.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=LONGEST_WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait for runs that are at work.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and the words for people to stderr.")
def remove(
    reason: str | None,
    dry_run: bool,
    resume: bool,
    yes: bool,
    wait: float,
    as_json: bool,
    **asked: str | None,
) -> None:
    """Erase something from pictures, tables, history, caches, pages and databases; it cannot be undone.

    It waits for runs at work, and runs wait for it. Interrupted, the same command finishes it.
    """
    from selfai_pipeline.store import open_store
    from selfai_pipeline.turns import alone, has_plans

    chosen = {kind: value for kind, value in asked.items() if value is not None}
    if len(chosen) > 1 or (chosen and resume) or (not chosen and not resume):
        raise click.UsageError(
            "Name one thing: a --picture, a --url, a --host, a --person or an --annotator; or --resume."
        )
    home = Home.existing()
    store = open_store(home)
    if dry_run:
        if resume:
            _show_unfinished(home, as_json=as_json)
        elif as_json:
            _print_json(_values(_plan(chosen, reason or "a dry run", store)))
        else:
            _show(_plan(chosen, reason or "a dry run", store))
        return
    if chosen and not (reason or "").strip():
        raise InputError(
            "a removal needs a reason", where="--reason", mend="Say why in words that name nobody."
        )

    def tell() -> None:
        click.echo("Waiting for what is at work to end (runs, imports); new runs wait for this.", err=True)

    finished: list[tuple[Plan, dict[str, object]]] = []
    if resume or has_plans(home):
        with alone(home, wait_s=wait, tell=tell):
            finished = _finish_interrupted(store, as_json=as_json)
    if resume:
        if as_json:
            _print_json([done for _, done in finished])
        elif not finished:
            click.echo(NONE_INTERRUPTED)
        return
    for plan, done in finished:
        if {plan.asked: plan.value} == chosen:
            if as_json:
                _print_json(done)
            return
    if not yes:
        # Nobody waits for the answer: what is erased is found anew behind it.
        _show(_plan(chosen, reason or "", store), err=as_json)
        click.confirm("Erase all of this for good?", abort=True, err=True)
    with alone(home, wait_s=wait, tell=tell):
        _finish_interrupted(store, as_json=as_json)
        plan = _plan(chosen, reason or "", store)
        plan.write(home)
        done = _carry_out(plan, store, err=as_json)
    if as_json:
        _print_json(done)


def _plan(chosen: dict[str, str], reason: str, store: "Store") -> "Plan":
    from selfai_pipeline.lineage.registry import read_registry
    from selfai_pipeline.lineage.versions import Archive
    from selfai_pipeline.removal.plan import make_plan
    from selfai_pipeline.removal.subjects import Known

    ((kind, value),) = chosen.items()
    return make_plan(
        kind, value, reason=reason, known=Known(Archive(store)), registry=read_registry(store.home)
    )


def _show_unfinished(home: Home, *, as_json: bool) -> None:
    """What the removals that were interrupted have to erase."""
    from selfai_pipeline.removal.plan import unfinished

    plans = unfinished(home)
    if as_json:
        _print_json([_values(plan) for plan in plans])
        return
    for plan in plans:
        click.echo(f"removal {plan.removal}, which was interrupted, {plan.reason}:")
        _show(plan)
    if not plans:
        click.echo(NONE_INTERRUPTED)


def _finish_interrupted(store: "Store", *, as_json: bool) -> "list[tuple[Plan, dict[str, object]]]":
    """Finish what was interrupted; returns the plans, each with what `_carry_out` says of it."""
    from selfai_pipeline.removal.plan import sweep_plans, unfinished

    sweep_plans(store.home)
    done = []
    for plan in unfinished(store.home):
        click.echo(f"finishing removal {plan.removal}, which was interrupted", err=True)
        done.append((plan, _carry_out(plan, store, err=as_json)))
    return done


def _carry_out(plan: "Plan", store: "Store", *, err: bool) -> dict[str, object]:
    """Erase what a plan names, say so in words (`err`: to stderr), and return it as values for JSON."""
    from selfai_pipeline.removal.erase import carry_out
    from selfai_pipeline.removal.search import is_users_own

    left = carry_out(
        plan,
        store=store,
        told=lambda step: click.echo(f"  {step}", err=True),
        last=lambda: fail_checks(plan, store),
    )
    say = partial(click.echo, err=err)
    say(f"removal {plan.removal} is done.")
    kept = [path for path in left if not is_users_own(path, store)]
    listed = {
        "These files name it still, or are it, because you put it there; take it out or delete them:": [
            store.home.root / path for path in left if path not in kept
        ],
        "These files name it still, and Selfai keeps them: do not edit them, or audits call them altered. "
        "docs/removal.md says when they go:": [store.home.root / path for path in kept],
        "These files outside of SELFAI_HOME have rows about it; an import passes them over:": plan.outside,
    }
    for words, paths in listed.items():
        if paths:
            say(words)
            for path in paths:
                say(f"  {path}")
    if plan.checkpoints:
        say(
            f"{len(plan.checkpoints)} checkpoints learnt from it, or may have, and are marked. `selfai run` "
            "makes the labels again and trains without it."
        )
    return {**_values(plan), "left": left, "kept": kept}


def fail_checks(plan: "Plan", store: "Store") -> None:
    """Let the check of each current checkpoint that learnt from it fail in Dagster, until trained anew.

    So does that of the champion, which may be an older scorer than the current one.
    """
    import dagster as dg

    from assets import champion, removed_inputs
    from selfai_pipeline.errors import AlteredVersion
    from selfai_pipeline.lineage.promotions import read_promotions
    from selfai_pipeline.tables import CheckpointRef

    marked = {one["sha256"] for one in plan.checkpoints}
    folder = Path(os.environ.get("DAGSTER_HOME") or store.home.dagster)
    if not marked or not (folder / "dagster.yaml").exists():
        return
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for asset in sorted({one["asset"] for one in plan.checkpoints}):
            record = store.tables.current(asset)
            if record and isinstance(record.ref, CheckpointRef) and record.ref.sha256 in marked:
                removed_inputs.report(instance, removed_inputs.removed_verdict(record.ref, store))
        try:
            in_use = read_promotions(store).champion
        except AlteredVersion as error:
            click.echo(f"Whether the champion learnt from it is not known. {error}", err=True)
            return
        if in_use is not None and in_use.checkpoint_sha256 in marked:
            removed_inputs.report(instance, champion.removed_verdict(in_use, store))


def _values(plan: "Plan") -> dict[str, object]:
    return {
        "removal": plan.removal,
        "asked": plan.asked,
        "counts": plan.counts,
        "pictures": sorted(plan.subjects.image_ids),
        "addresses": sorted(plan.subjects.urls | plan.subjects.paths),
        "versions": [
            {"asset": key.asset, "partition": key.partition, "sha256": key.sha256} for key in plan.versions
        ],
        "reports": list(plan.reports),
        "checkpoints": [dict(one) for one in plan.checkpoints],
        "models": [f"{name}@{version}" for name, version in plan.models],
        "ratings_files": list(plan.ratings_files),
        "outside": list(plan.outside),
    }


def _print_json(values: object) -> None:
    click.echo(json.dumps(values, indent=1))


def _show(plan: "Plan", *, err: bool = False) -> None:
    """What goes, on the terminal and nowhere else; `err`: to stderr."""
    say = partial(click.echo, err=err)
    subjects = plan.subjects
    counts = ", ".join(f"{count} {name}" for name, count in plan.counts.items()) or "nothing"
    say(f"to be erased: {counts}")
    listed = {
        "pictures": subjects.image_ids,
        "addresses": subjects.urls | subjects.paths,
        "annotators": subjects.annotators,
        "versions of tables": [f"{key}" for key in plan.versions],
        "reports": plan.reports,
        "files of ratings": plan.ratings_files,
        "checkpoints that learnt from it, to be marked": [
            f"{one['asset']} {one['sha256'][:12]}" for one in plan.checkpoints
        ],
        "registered models, to be marked": [f"{name}@{version}" for name, version in plan.models],
        "files outside of SELFAI_HOME, which stay": plan.outside,
    }
    for title, values in listed.items():
        if values:
            say(f"{title}:")
            shown = sorted(values)
            for one in shown[:MOST_SHOWN]:
                say(f"  {one}")
            if len(shown) > MOST_SHOWN:
                say(f"  and {len(shown) - MOST_SHOWN} more (--dry-run --json lists all)")
    if plan.asked == "annotator":
        say(
            "Past label tables keep the scores that were made with these ratings, without the name; "
            "`selfai run` makes the label table again without them."
        )

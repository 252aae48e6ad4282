"""The commands of the annotation site: `selfai annotate`, `invite`, `revoke` and `gold`."""

import os
from pathlib import Path

import click

from selfai_pipeline.environment import PORTS, port_of
from selfai_pipeline.home import Home

PORT_SETTING = "SELFAI_ANNOTATE_PORT"
PORT = PORTS[PORT_SETTING]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=None, help=f"Port; default: {PORT_SETTING}, or {PORT}."
)
def annotate(host: str, port: int | None) -> None:
    """Serve the annotation site until Ctrl-C; people come in by links of `selfai invite`."""
    import uvicorn

    from selfai_pipeline.knobs import defaults_of
    from selfai_pipeline.labels.site.app import site_app
    from selfai_pipeline.labels.site.database import SiteDatabase
    from selfai_pipeline.labels.site.keeper import Keeper
    from selfai_pipeline.labels.site.settings import SiteSettings
    from selfai_pipeline.labels.site.tokens import load_key
    from selfai_pipeline.serving.services import Service, require_free
    from selfai_pipeline.store import open_store

    home = Home.from_environment().create()
    port = port_of(PORT_SETTING) if port is None else port
    require_free(Service("annotation site", [], port, f"--port or {PORT_SETTING}", host=host))
    settings = defaults_of(SiteSettings, section="annotation_site")()
    store = open_store(home)
    with SiteDatabase(home.annotations_url) as database:
        keeper = Keeper(database, store=store, settings=settings)
        # What is amiss with the database or the faces is said before anybody comes.
        keeper.look()
        app = site_app(keeper, store=store, key=load_key(home.annotations_key), settings=settings)
        click.echo(
            f"annotation site: http://{host}:{port}; `selfai invite NAME` makes a link. Ctrl-C stops it."
        )
        # No log of requests: their addresses hold the secrets of links.
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)


@click.command()
@click.argument("name")
@click.option("--group", default=None, help="Group of the annotator, such as a country.")
@click.option("--admin", is_flag=True, help="A link to the administrators' page; its owner scores nothing.")
@click.option(
    "--url",
    default=None,
    help="Address of the site as the invited reach it; default: SELFAI_ANNOTATE_URL, or this machine's.",
)
def invite(name: str, group: str | None, admin: bool, url: str | None) -> None:
    """Print a link with which NAME can score; an earlier link of NAME ends."""
    from selfai_pipeline.labels.site.database import SiteDatabase
    from selfai_pipeline.labels.site.people import Role
    from selfai_pipeline.labels.site.people import invite as invite_person
    from selfai_pipeline.labels.site.tokens import load_key

    home = Home.from_environment().create()
    base = url or os.environ.get("SELFAI_ANNOTATE_URL") or f"http://127.0.0.1:{port_of(PORT_SETTING)}"
    role = Role.ADMIN if admin else Role.ANNOTATOR
    with SiteDatabase(home.annotations_url) as database:
        token = invite_person(database, name, key=load_key(home.annotations_key), group=group, role=role)
    click.echo(f"{base.rstrip('/')}/join/{token}")


@click.command()
@click.argument("name")
def revoke(name: str) -> None:
    """End the link and all sessions of NAME at once; ratings stay."""
    from selfai_pipeline.labels.site.database import SiteDatabase
    from selfai_pipeline.labels.site.people import revoke as revoke_person

    with SiteDatabase(Home.from_environment().create().annotations_url) as database:
        revoke_person(database, name)
    click.echo(f"{name} can no longer score; the ratings stay.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--picture-column", default="image", show_default=True)
@click.option("--score-column", default="score", show_default=True)
@click.option("--minimum", type=float, default=0.0, show_default=True, help="Lowest score of the scale.")
@click.option("--maximum", type=float, default=9.0, show_default=True, help="Highest score of the scale.")
def gold(file: Path, **columns: str | float) -> None:
    """Show the pictures of a table, whose scores are known, to every annotator; they replace earlier ones."""
    from selfai_pipeline.knobs import defaults_of
    from selfai_pipeline.labels.site.database import SiteDatabase
    from selfai_pipeline.labels.site.faces import current_faces, set_gold, take_in_faces
    from selfai_pipeline.labels.site.gold import gold_scores
    from selfai_pipeline.labels.site.settings import SiteSettings
    from selfai_pipeline.store import open_store
    from selfai_pipeline.turns import writing

    store = open_store(Home.from_environment().create())
    settings = defaults_of(SiteSettings, section="annotation_site")()
    # A removal must not be overtaken by pictures and faces that were read before it.
    with writing(store.home):
        scores = gold_scores(file, store=store, **columns)  # type: ignore[arg-type]
        with SiteDatabase(store.home.annotations_url) as database:
            # A site that has not been started yet has no faces of its own.
            take_in_faces(database, current_faces(store), store=store, settings=settings)
            known = set_gold(database, scores, settings=settings)
    others = "" if known == len(scores) else "; the others have no aligned face, or several"
    click.echo(f"{known} of {len(scores)} pictures are gold ones of the site now{others}.")


COMMANDS = (annotate, invite, revoke, gold)

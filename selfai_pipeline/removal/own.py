"""What Selfai itself is called by: folders and addresses that stay, whatever host or name stands in them."""

import os
import sys
from pathlib import Path

from selfai_pipeline.home import PROJECT
from selfai_pipeline.store import Store

PORTS = {
    "SELFAI_UI_PORT": "3000",
    "SELFAI_MLFLOW_PORT": "5000",
    "SELFAI_FILES_PORT": "3080",
    "SELFAI_ANNOTATE_PORT": "8660",
}
"""The settings of ports on this machine, each with its default. The sample gallery is none of them: it plays
the part of somebody else's site."""

ADDRESSES = (
    "SELFAI_UI_URL",
    "SELFAI_MLFLOW_URL",
    "SELFAI_ANNOTATE_URL",
    "SELFAI_MLFLOW_ARTIFACTS",
    "MLFLOW_TRACKING_URI",
)


def own_names(store: Store) -> frozenset[str]:
    """The folders of the home, the storage and the program, and the addresses of the services; none ends with
    a slash.

    Links that were made with another port than the present one, or the default, are not told from others.
    """
    folders = {str(one) for one in (store.home.root, PROJECT, Path(sys.prefix))}
    files = store.files
    folders.add(files.root if files.is_local else files.url)
    ports = {port for name, default in PORTS.items() for port in (default, os.environ.get(name, default))}
    addresses = {f"http://{host}:{port}" for host in ("127.0.0.1", "localhost") for port in ports}
    named = {os.environ.get(name, "").strip() for name in ADDRESSES}
    return frozenset(one.rstrip("/") for one in folders | addresses | named) - {""}

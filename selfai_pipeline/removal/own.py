"""What Selfai itself is called by: folders and addresses that stay, whatever host or name stands in them."""

import os
import sys
from pathlib import Path

from selfai_pipeline.environment import PORTS
from selfai_pipeline.home import PROJECT
from selfai_pipeline.store import Store

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

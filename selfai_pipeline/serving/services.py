"""All services of `selfai up`: started together, stopped together."""

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from selfai_pipeline.environment import Environment, current_environment, port_of
from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.home import Home

logger = logging.getLogger("selfai.serving")
SECONDS_TO_STOP = 20.0
LOOK_EVERY_S = 0.1
ASK_FOR_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Service:
    """A process that serves; `port` is 0 where it listens to none, and `setting` is what changes it."""

    name: str
    command: list[str]
    port: int = 0
    setting: str = ""
    host: str = "127.0.0.1"


def services(home: Home, *, project: Path) -> list[Service]:
    """What runs beside each other over one home, all on 127.0.0.1, but for a gallery that is served already.

    Raises:
        InputError: a setting names no port.
    """
    scripts = Path(sys.executable).parent
    workspace = str(project / "workspace.yaml")
    ui, mlflow, files = (
        port_of("SELFAI_UI_PORT"),
        port_of("SELFAI_MLFLOW_PORT"),
        port_of("SELFAI_FILES_PORT"),
    )
    listen = ["-h", "127.0.0.1", "-p", str(ui), "-w", workspace]
    started = [
        Service("Dagster UI", [str(scripts / "dagster-webserver"), *listen], ui, "SELFAI_UI_PORT"),
        Service("Dagster daemon", [str(scripts / "dagster-daemon"), "run", "-w", workspace]),
        Service(
            "MLflow",
            [
                *(str(scripts / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(mlflow)),
                *("--backend-store-uri", f"sqlite:///{home.mlflow_database}"),
                *("--artifacts-destination", (home.mlflow / "artifacts").as_uri(), "--workers", "1"),
            ],
            mlflow,
            "SELFAI_MLFLOW_PORT",
        ),
        Service(
            "previews", [str(scripts / "selfai"), "files", "--port", str(files)], files, "SELFAI_FILES_PORT"
        ),
    ]
    if current_environment() is Environment.SAMPLE:
        from selfai_pipeline.sources.gallery.server import is_served
        from selfai_pipeline.sources.gallery.settings import GallerySettings

        gallery = GallerySettings()
        if not is_served(home, gallery):
            command = [str(scripts / "selfai"), "gallery"]
            started.append(Service("sample gallery", command, gallery.port, "SELFAI_GALLERY_PORT"))
    return started


def require_free(service: Service) -> None:
    """Raises InputError where the service's port is taken."""
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((service.host, service.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise InputError(
                    f"{service.host}, port {service.port}: cannot be listened on ({error.strerror})",
                    where=service.name,
                    mend="Name an address of this machine, and a port from 1024 on.",
                ) from None
            raise InputError(
                f"port {service.port} is in use",
                where=service.name,
                mend=f"Stop what uses it, or set {service.setting} to another port.",
            ) from None


def serve_all(home: Home, *, project: Path) -> None:
    """Start every service, wait for Ctrl-C or the end of one of them, then stop them all.

    SIGTERM and SIGHUP (the terminal was closed) count as Ctrl-C. While the services are stopped all three are
    ignored, so that none is left behind.

    Raises:
        InputError: a port is in use; nothing was started.
        SelfaiError: a service ended by itself; the others were stopped.
    """
    planned = services(home, project=project)
    for service in planned:
        if service.port:
            require_free(service)
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    running: list[tuple[Service, subprocess.Popen[bytes]]] = []
    with _end_asked_for() as is_asked_for:
        try:
            for service in planned:
                # A session of its own: Ctrl-C reaches this process alone, which then stops the others.
                process = subprocess.Popen(
                    service.command, cwd=project, env=environment, start_new_session=True
                )
                running.append((service, process))
                if service.port:
                    logger.info("%s: http://127.0.0.1:%d", service.name, service.port)
            logger.info("Ctrl-C stops everything")
            while not is_asked_for():
                for service, process in running:
                    if process.poll() is not None:
                        raise SelfaiError(
                            f"{service.name} ended by itself (status {process.returncode}); "
                            "its last words stand above."
                        )
                time.sleep(LOOK_EVERY_S)
            logger.info("stopping")
        finally:
            stop(running)


@contextmanager
def _end_asked_for() -> Iterator[Callable[[], bool]]:
    """Take note of the signals that ask for an end, and let nothing be interrupted by them.

    An exception could strike between the start of a process and its entry in the list, or while they end.
    """
    received: list[int] = []
    before = {sign: signal.getsignal(sign) for sign in ASK_FOR_END}
    for sign in ASK_FOR_END:
        # Under nohup a service outlives its terminal.
        if sign != signal.SIGHUP or before[sign] is not signal.SIG_IGN:
            signal.signal(sign, lambda number, _: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler or signal.SIG_DFL)


def stop(running: list[tuple[Service, subprocess.Popen[bytes]]]) -> None:
    """End every process group, also those whose leader ended first: politely, after 20 seconds by force."""
    processes = [process for _, process in running]
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while any(_has_members(process) for process in processes):
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_EVERY_S)
        else:
            return


def _has_members(leader: subprocess.Popen[bytes]) -> bool:
    """Whether a process of the group still runs."""
    if leader.poll() is None:
        return True
    try:
        os.killpg(leader.pid, 0)
    except ProcessLookupError:
        return False
    # Where nobody collects orphans (in many containers), the dead stay members of their group for ever.
    return any(_is_member(process, leader.pid) for process in psutil.process_iter())


def _is_member(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False

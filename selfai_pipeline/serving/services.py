"""All services of `selfai up`: started together, stopped together."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from selfai_pipeline.environment import Environment, current_environment
from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.home import Home

logger = logging.getLogger("selfai.serving")
SECONDS_TO_STOP = 20.0


@dataclass(frozen=True)
class Service:
    """A process that `selfai up` runs; `port` is 0 where it listens to none."""

    name: str
    command: list[str]
    port: int = 0
    setting: str = ""


def port_of(setting: str, default: int) -> int:
    """The port that the environment variable `setting` names, else `default`."""
    text = os.environ.get(setting, str(default))
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise InputError(f"{text!r} is no port", where=setting, mend="Set it to a number from 1 to 65535.")
    return int(text)


def services(home: Home, *, project: Path) -> list[Service]:
    """What runs beside each other over one home, all on 127.0.0.1."""
    scripts = Path(sys.executable).parent
    workspace = str(project / "workspace.yaml")
    ui, mlflow, files = (
        port_of("SELFAI_UI_PORT", 3000),
        port_of("SELFAI_MLFLOW_PORT", 5000),
        port_of("SELFAI_FILES_PORT", 3080),
    )
    listen = ["-h", "127.0.0.1", "-p", str(ui), "-w", workspace]
    started = [
        Service("Dagster UI", [str(scripts / "dagster-webserver"), *listen], ui, "SELFAI_UI_PORT"),
        Service("Dagster daemon", [str(scripts / "dagster-daemon"), "run", "-w", workspace]),
        Service(
            "MLflow",
            [
                *(str(scripts / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(mlflow)),
                *("--backend-store-uri", f"sqlite:///{home.mlflow / 'mlflow.db'}"),
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
        started.append(Service("sample gallery", [str(scripts / "selfai"), "gallery"]))
    return started


def require_free(service: Service) -> None:
    """Raises InputError where the service's port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", service.port))
        except OSError:
            raise InputError(
                f"port {service.port} is in use",
                where=service.name,
                mend=f"Stop what uses it, or set {service.setting} to another port.",
            ) from None


def serve_all(home: Home, *, project: Path) -> None:
    """Start every service, wait for Ctrl-C or the end of one of them, then stop them all.

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
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        for service in planned:
            # A session of its own: Ctrl-C reaches this process alone, which then stops the others in order.
            process = subprocess.Popen(service.command, cwd=project, env=environment, start_new_session=True)
            running.append((service, process))
            if service.port:
                logger.info("%s: http://127.0.0.1:%d", service.name, service.port)
        logger.info("Ctrl-C stops everything")
        while True:
            for service, process in running:
                if process.poll() is not None:
                    raise SelfaiError(
                        f"{service.name} ended by itself (status {process.returncode}); "
                        "its last words stand above."
                    )
            time.sleep(0.5)
    except KeyboardInterrupt:
        logger.info("stopping")
    finally:
        stop(running)


def stop(running: list[tuple[Service, subprocess.Popen[bytes]]]) -> None:
    """End every process group: politely first, after 20 seconds by force."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for _, process in running:
            if process.poll() is None:
                os.killpg(process.pid, sign)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while time.monotonic() < deadline and any(process.poll() is None for _, process in running):
            time.sleep(0.1)

"""Services start together and stop together; a port in use is found before anything starts."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvicorn

from selfai_pipeline.cli import commands
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.serving.services import Service, require_free, serve_all, services, stop
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.server import GalleryServer
from selfai_pipeline.sources.gallery.settings import GallerySettings

SETTINGS = ["SELFAI_UI_PORT", "SELFAI_MLFLOW_PORT", "SELFAI_FILES_PORT", "SELFAI_GALLERY_PORT"]


def test_a_port_in_use_is_named_with_the_mend() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"MLflow: port {port} is in use.*SELFAI_MLFLOW_PORT"):
            require_free(Service("MLflow", [], port, "SELFAI_MLFLOW_PORT"))


HOST_OPTIONS = {"Dagster UI": "-h", "MLflow": "--host"}
CHECKED_ELSEWHERE = {"Dagster daemon", "previews", "sample gallery"}
"""The daemon listens to nothing; the other two are ours, and take no host."""


def test_every_service_is_told_to_listen_on_loopback(home: Home, tmp_path: Path) -> None:
    commands = {service.name: service.command for service in services(home, project=tmp_path)}
    assert set(commands) == set(HOST_OPTIONS) | CHECKED_ELSEWHERE
    for name, option in HOST_OPTIONS.items():
        assert commands[name].count(option) == 1
        assert commands[name][commands[name].index(option) + 1] == "127.0.0.1"


def test_the_previews_listen_on_loopback_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    served = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.update(options))
    commands(["files", "--port", "3081"], standalone_mode=False)
    assert served["host"] == "127.0.0.1"
    assert served["port"] == 3081


def test_every_port_can_be_set_and_is_looked_at_before_anything_starts(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port in use is always answered with the name of the setting, which then moves the service."""
    for number, setting in enumerate(SETTINGS, start=4000):
        monkeypatch.setenv(setting, str(number))
    planned = {one.setting: one.port for one in services(home, project=tmp_path) if one.port}
    assert planned == {setting: number for number, setting in enumerate(SETTINGS, start=4000)}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("SELFAI_GALLERY_PORT", str(taken.getsockname()[1]))
        with pytest.raises(InputError, match="set SELFAI_GALLERY_PORT to another port"):
            serve_all(home, project=tmp_path)


def test_a_gallery_that_is_served_already_is_used(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = GallerySettings(days=["2026-01-01"], portraits_per_day=1, picture_size=96, port=0)
    prepare_sample(home, settings)
    with GalleryServer(home, settings) as gallery:
        running = settings.model_copy(update={"port": gallery.port})
        monkeypatch.setattr("selfai_pipeline.sources.gallery.settings.GallerySettings", lambda: running)
        assert "sample gallery" not in {one.name for one in services(home, project=tmp_path)}
    assert "sample gallery" in {one.name for one in services(home, project=tmp_path)}


def test_stopping_ends_a_service_and_its_children(tmp_path: Path) -> None:
    marker = tmp_path / "child"
    code = (
        "import subprocess, sys, time, pathlib; child = subprocess.Popen([sys.executable, '-c', "
        f"'import time; time.sleep(60)']); pathlib.Path({str(marker)!r}).write_text(str(child.pid)); "
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while not marker.exists() or not marker.read_text():
        time.sleep(0.05)
    stop([(Service("test", []), process)])
    assert process.returncode == -signal.SIGTERM
    child = int(marker.read_text())
    for _ in range(200):
        if not _is_alive(child):
            break
        time.sleep(0.05)
    assert not _is_alive(child)


def _is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not yet collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


SERVE = """
import sys
from pathlib import Path
from selfai_pipeline.home import Home
from selfai_pipeline.serving import services
folder = Path(sys.argv[1])
services.services = lambda home, *, project: [
    services.Service(file.stem, [sys.executable, str(file)]) for file in sorted(folder.glob("*.py"))
]
services.serve_all(Home.at(folder), project=folder)
"""
WRITE_PID = """
import os, pathlib, signal, subprocess, sys, time
pathlib.Path({pid!r}).write_text(str(os.getpid()))
"""
SLEEP = "time.sleep(60)\n"
SLOW_TO_STOP = """
def leave(*_):
    time.sleep(2)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
time.sleep(60)
"""


class Running:
    """`serve_all` in a process of its own, over dummy services that write their process id into a file."""

    def __init__(self, folder: Path, **programs: str) -> None:
        self.folder = folder
        self.pids = [folder / f"{name}.pid" for name in programs]
        for name, program in programs.items():
            code = WRITE_PID.format(pid=str(folder / f"{name}.pid")) + program
            (folder / f"{name}.py").write_text(code)

    def start(self, *prefix: str) -> subprocess.Popen[bytes]:
        command = [*prefix, sys.executable, "-c", SERVE, str(self.folder)]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
        while not all(pid.exists() and pid.read_text() for pid in self.pids):
            assert process.poll() is None
            time.sleep(0.05)
        return process

    def alive(self) -> list[str]:
        return [pid.stem for pid in self.pids if _is_alive(int(pid.read_text()))]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_service_cleanly(tmp_path: Path, sign: signal.Signals) -> None:
    running = Running(tmp_path, one=SLEEP, two=SLEEP)
    process = running.start()
    process.send_signal(sign)
    assert process.wait(timeout=30) == 0
    assert running.alive() == []


def test_further_signals_while_stopping_leave_nothing_behind(tmp_path: Path) -> None:
    running = Running(tmp_path, one=SLOW_TO_STOP, two=SLOW_TO_STOP)
    process = running.start()
    time.sleep(0.5)
    for sign in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process.send_signal(sign)
        time.sleep(0.2)
    assert process.wait(timeout=30) == 0
    assert running.alive() == []


def test_a_service_that_ended_by_itself_leaves_no_child(tmp_path: Path) -> None:
    child = tmp_path / "child.pid"
    program = (
        f"code = 'import time; time.sleep(60)'\n"
        f"child = subprocess.Popen([sys.executable, '-c', code])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(child.pid))\n"
        "time.sleep(1)\n"
        "sys.exit(3)\n"
    )
    running = Running(tmp_path, one=program, two=SLEEP)
    process = running.start()
    _, errors = process.communicate(timeout=30)
    assert "one ended by itself (status 3)" in errors.decode()
    assert running.alive() == []
    assert not _is_alive(int(child.read_text()))


def test_under_nohup_the_services_outlive_the_terminal(tmp_path: Path) -> None:
    running = Running(tmp_path, one=SLEEP)
    process = running.start("nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert running.alive() == []

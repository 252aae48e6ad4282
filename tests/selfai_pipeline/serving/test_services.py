"""Services start together and stop together; a port in use is found before anything starts."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.serving.services import Service, port_of, require_free, services, stop


def test_a_port_in_use_is_named_with_the_mend() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"MLflow: port {port} is in use.*SELFAI_MLFLOW_PORT"):
            require_free(Service("MLflow", [], port, "SELFAI_MLFLOW_PORT"))


@pytest.mark.parametrize("text", ["abc", "0", "70000", "-1"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SELFAI_UI_PORT", text)
    with pytest.raises(InputError, match="SELFAI_UI_PORT"):
        port_of("SELFAI_UI_PORT", 3000)


def test_every_service_listens_on_loopback_alone(home: Home, tmp_path: Path) -> None:
    for service in services(home, project=tmp_path):
        assert "0.0.0.0" not in " ".join(service.command)


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
    except FileNotFoundError:
        return False


SERVE_TWO = """
import sys
from pathlib import Path
from selfai_pipeline.home import Home
from selfai_pipeline.serving import services
sleep = "import time, pathlib, os; pathlib.Path({marker!r}).write_text(str(os.getpid())); time.sleep(60)"
services.services = lambda home, *, project: [
    services.Service("one", [sys.executable, "-c", sleep.format(marker=sys.argv[1] + "/one")]),
    services.Service("two", [sys.executable, "-c", sleep.format(marker=sys.argv[1] + "/two")]),
]
services.serve_all(Home.at(sys.argv[1]), project=Path(sys.argv[1]))
"""


def test_ctrl_c_stops_every_service_cleanly(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVE_TWO, str(tmp_path)], start_new_session=True)
    markers = [tmp_path / "one", tmp_path / "two"]
    while not all(marker.exists() and marker.read_text() for marker in markers):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert not any(_is_alive(int(marker.read_text())) for marker in markers)

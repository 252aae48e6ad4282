"""One thread of torch for every test, and a real PostgreSQL server for those that need one."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch

USER, PASSWORD, DATABASE = "selfai", "p@ss:w/rd%", "selfai"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums of floats depend on the number of threads, and tests that run beside others stall in barriers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class PostgresServer:
    """A PostgreSQL server on a port of loopback, whose data lie in a temporary folder of its own.

    It refuses to run as root, so that for root it runs as somebody else.
    """

    binaries: Path
    folder: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    identity: dict[str, Any] = field(default_factory=dict)

    def create(self) -> None:
        if os.geteuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            other = names.get("postgres") or names["nobody"]
            self.identity = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
            os.chown(self.folder, other.pw_uid, other.pw_gid)
        with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False) as file:
            file.write(PASSWORD)
        Path(file.name).chmod(0o644)
        self.call(
            *("initdb", "--pgdata", "data", "--username", USER, "--pwfile", file.name, "--no-sync"),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.binaries / program, *arguments], cwd=self.folder, capture_output=True, **self.identity
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", "data", *options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self.identity,
            )
        import psycopg

        for _ in range(300):
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        """End it and all of its connections at once, in whatever they are doing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)
            self.process = None

    def url(self, database: str = DATABASE, *, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    @property
    def written_password(self) -> str:
        """The password as it stands in addresses."""
        return quote(PASSWORD, safe="")

    def execute(self, *statements: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """What the last of the statements gives."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor: Any = None
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor is not None and cursor.description else []

    def new_place(self) -> str:
        """An address that shares the database with others, in a schema of its own."""
        schema = f"place_{uuid.uuid4().hex}"
        self.execute(f"CREATE SCHEMA {schema}")
        return f"{self.url()}?options=-csearch_path%3D{schema}"


def binaries_of_postgres() -> Path | None:
    """The folder with initdb and postgres; Debian keeps each version's apart and off the path."""
    onpath = shutil.which("initdb")
    found = [Path(onpath).resolve().parent] if onpath else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: -float(one.parent.name))
    return next((one for one in found if (one / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests; a test that stops it starts it again."""
    binaries = binaries_of_postgres()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian's package postgresql)")
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    # pytest's own folders are closed to everybody but who runs it.
    with tempfile.TemporaryDirectory(prefix="selfai-postgres-") as folder:
        server = PostgresServer(binaries, Path(folder))
        server.create()
        server.start()
        try:
            server.execute(f"CREATE DATABASE {DATABASE}", database="postgres")
            yield server
        finally:
            server.stop()

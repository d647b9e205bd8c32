"""A Synapse and one of ours that federate over TLS on this machine."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from local_cloud.database.dynoxide import free_port
from local_cloud.federate.certificates import Authority
from local_cloud.federate.synapse import Synapse
from local_cloud.testing import LocalCloud
from murmuration.federation.requests import health
from murmuration.protocol.identifiers import ServerName
from murmuration.storage.servers import backlogs, destinations
from operators import operating
from tests.federation.clouds import federating
from tests.interop.wire import Wire

from .people import Person

SYNAPSE_START_S = 120


class Homeserver(Protocol):
    """A server that can be stopped and started again over its data."""

    @property
    def server_name(self) -> str: ...

    @property
    def url(self) -> str:
        """Where its clients ask."""

    def person(self, name: str = "p") -> Person:
        """Return a new user."""

    def stop(self) -> None: ...

    def start(self) -> None: ...


class Ours:
    """A local cloud with a federation port, reached by others through the wire if there is one.

    `more` are options of it.
    """

    def __init__(self, folder: Path, authority: Authority, wire: Wire | None = None, **more: str) -> None:
        options = federating(authority, **more)
        if wire is not None:
            options["server-name"] = wire.front(int(options["federation-port"]))
        self.cloud = LocalCloud(folder, options, environment={"MURMURATION_PASSWORD_COST": "4"})

    @property
    def server_name(self) -> str:
        return self.cloud.server_name

    @property
    def url(self) -> str:
        return self.cloud.url

    def person(self, name: str = "p") -> Person:
        return Person(self.url, self.server_name, name)

    def stop(self) -> None:
        self.cloud.stop()

    def start(self) -> None:
        self.cloud.start()

    def try_again(self, *servers: Homeserver) -> None:
        """Forget that other servers didn't answer, and send what is owed to them now."""
        with operating.connected(self.cloud.data, None):
            health.forget()
            for server in servers:
                destinations.clear(ServerName(server.server_name))
                backlogs.hasten(ServerName(server.server_name))


class Theirs:
    """A Synapse. Other servers reach it through the wire if there is one. It sends presence if configured."""

    def __init__(
        self,
        python: Path,
        folder: Path,
        authority: Authority,
        wire: Wire | None = None,
        *,
        presence: bool = False,
    ) -> None:
        certificate, key = authority.files("localhost", "127.0.0.1")
        port = free_port()
        named_port = int(wire.front(port).rpartition(":")[2]) if wire is not None else port
        self._synapse = Synapse(
            python, folder, free_port(), port, certificate, key, authority.ca, named_port, presence
        )
        self._synapse.configure()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server_name(self) -> str:
        return self._synapse.server_name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._synapse.port}"

    @property
    def log(self) -> Path:
        return self._synapse.folder / "homeserver.log"

    def person(self, name: str = "p") -> Person:
        return Person(self.url, self.server_name, name)

    def start(self) -> None:
        """Start it and wait until it listens. Raises AssertionError with the end of its log."""
        output = (self._synapse.folder / "output.log").open("ab")
        self._process = subprocess.Popen(self._synapse.command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + SYNAPSE_START_S
        ports = (self._synapse.port, self._synapse.federation_port)
        while not all(_listens(port) for port in ports):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = Path(output.name).read_text()[-2000:]
                raise AssertionError(f"Synapse did not start:\n{said}")
            time.sleep(0.1)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def stopped(server: Homeserver) -> Iterator[None]:
    """Stop the server within the block."""
    server.stop()
    try:
        yield
    finally:
        server.start()

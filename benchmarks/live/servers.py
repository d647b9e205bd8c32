"""The servers to compare: each in its own processes, on the loopback, with a fresh database."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from local_cloud.database.dynoxide import free_port
from local_cloud.meter import load_refused
from local_cloud.testing import LocalCloud

TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A homeserver at `url`; `pid` is its first process, whose children count too."""

    name = ""
    url = ""
    pid = 0

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def cpu(self) -> float:
        """Return the CPU seconds that the server has used so far."""
        return sum(map(_cpu, [self.pid, *_children(self.pid)]))


class Ours(Server):
    """The local cloud, with one way of waiting."""

    def __init__(self, folder: Path, waiting: str, meter: str = "off") -> None:
        self.name = f"Murmuration, {waiting}"
        environment = {"MURMURATION_PASSWORD_COST": "4"}
        options = {"waiting": waiting, "meter": meter}
        self._cloud = LocalCloud(folder, options, environment=environment)

    def start(self) -> None:
        self._cloud.start()
        self.url, self.pid = self._cloud.url, self._cloud.pid

    def stop(self) -> None:
        self._cloud.stop()

    def refused(self) -> int:
        """Return how many transactions were refused until the server, which had a meter, stopped."""
        return load_refused(self._cloud.data / "usage.json")


class Synapse(Server):
    """Synapse with SQLite and without rate limits, as its own configuration generator makes it."""

    name = "Synapse, SQLite"

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder, self._python = folder, python
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port = free_port()
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "homeserver.yaml"
        command = [str(self._python), "-m", "synapse.app.homeserver", "--config-path", str(config)]
        generate = ["--generate-config", "--server-name", "bench.example.org", "--report-stats=no"]
        subprocess.run([*command, *generate], cwd=self._folder, check=True, capture_output=True)  # noqa: S603
        more = self._folder / "bench.yaml"
        more.write_text(_SYNAPSE_CONFIG.format(port=port, secret=secrets.token_hex(16)))
        self._process = subprocess.Popen(  # noqa: S603
            [*command, "--config-path", str(more)],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url, self.pid = f"http://127.0.0.1:{port}", self._process.pid
        _wait_for(f"{self.url}/_matrix/client/versions")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)


_LIMIT = "{{per_second: 100000, burst_count: 100000}}"
_SYNAPSE_CONFIG = f"""
listeners:
  - port: {{port}}
    type: http
    bind_addresses: ['127.0.0.1']
    resources: [{{{{names: [client]}}}}]
enable_registration: true
enable_registration_without_verification: true
registration_shared_secret: {{secret}}
bcrypt_rounds: 4
presence: {{{{enabled: false}}}}
trusted_key_servers: []
rc_message: {_LIMIT}
rc_registration: {_LIMIT}
rc_joins: {{{{local: {_LIMIT}, remote: {_LIMIT}}}}}
rc_joins_per_room: {_LIMIT}
rc_room_creation: {_LIMIT}
rc_login: {{{{address: {_LIMIT}, account: {_LIMIT}, failed_attempts: {_LIMIT}}}}}
"""


def _wait_for(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"{url} did not answer within {seconds:.0f} s")
            time.sleep(0.2)


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid:
                found += [int(entry.name), *_children(int(entry.name))]
    return found

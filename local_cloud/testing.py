"""A local cloud for tests: in its own process, on a free port, over a folder that may be temporary.

with local_cloud(tmp_path, registration="open") as cloud:
    requests.get(cloud.url + "/_matrix/client/versions")
    cloud.kill9()
    cloud.restart()
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from local_cloud.database.dynoxide import free_port

KEPT = ("MURMURATION_API", "MURMURATION_DYNOXIDE", "MURMURATION_PASSWORD_COST", "MURMURATION_WAITS")
"""Settings of the test's own process that are also used by a server under test."""


class LocalCloudError(Exception):
    """The server didn't start, or not in time. The message has its output."""


class LocalCloud:
    """`murmuration serve` as a child process. `options` are its options, without dashes in front."""

    def __init__(
        self,
        data: Path,
        options: Mapping[str, str] | None = None,
        *,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self._may_move = not port
        self.options = {"registration": "open", "rate-limits": "off", **(options or {})}
        self.environment = dict(environment or {})
        self.output: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def server_name(self) -> str:
        return self.options.get("server-name") or f"localhost:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LocalCloudError("the local cloud is not running")
        return self._process.pid

    def start(self, patience: float = 120.0) -> None:
        """Start it and wait until it serves. Raises LocalCloudError.

        If another process takes the chosen free port, the first start chooses another one.
        """
        for _ in range(3):
            try:
                self._start(patience)
            except LocalCloudError as error:
                if not self._may_move or "Address already in use" not in str(error):
                    raise
                self.port = free_port()
                self.output.clear()
            else:
                self._may_move = False
                return
        self._start(patience)

    def _start(self, patience: float) -> None:
        options = {"port": str(self.port), "data": str(self.data), **self.options}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        # for this process only: the thread that follows the previous one may still be running
        told = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "operators.cli", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**_clean_environment(), **self.environment},
        )
        threading.Thread(target=self._follow, args=(self._process, told), daemon=True).start()
        if not told.wait(patience) or self._process.poll() is not None:
            self.stop()
            raise LocalCloudError("the local cloud did not start:\n" + "".join(self.output))

    def _follow(self, process: subprocess.Popen[str], told: threading.Event) -> None:
        """Keep the process's output. Report when it serves, or has ended."""
        for line in process.stdout or ():
            self.output.append(line)
            if line.startswith("Serving "):
                told.set()
        process.wait()
        told.set()

    def stop(self, patience: float = 30.0) -> int | None:
        """End it as Ctrl-C does, and return its exit status."""
        return self._end(signal.SIGTERM, patience)

    def kill9(self) -> None:
        """End it as a power failure would, as far as that is possible for one process."""
        self._end(signal.SIGKILL, 10)

    def _end(self, number: int, patience: float) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def restart(self) -> None:
        """Start it again over the same data, after ending it if it is still running."""
        self.stop()
        self.start()

    def __enter__(self) -> LocalCloud:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def local_cloud(
    data: Path, *, port: int = 0, environment: Mapping[str, str] | None = None, **options: str
) -> Iterator[LocalCloud]:
    """Yield a local cloud that serves until the block ends; `server_name="x"` is `--server-name x`."""
    dashed = {name.replace("_", "-"): value for name, value in options.items()}
    with LocalCloud(data, dashed, port=port, environment=environment) as cloud:
        yield cloud


def _clean_environment() -> dict[str, str]:
    """Return this process's environment without the variables that were set for functions in it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not name.startswith(("MURMURATION_", "AWS_"))
    }

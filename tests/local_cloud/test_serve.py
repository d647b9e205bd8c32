from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from local_cloud.database.dynoxide import DynoxideError, find_binary, free_port
from local_cloud.testing import LocalCloud, LocalCloudError, local_cloud
from tests.local_cloud.conftest import Gateway
from tests.local_cloud.waiting import PATIENCE_S, until

FUNCTIONS = "tests.local_cloud.fake_functions"
POLL_S = 20
"""How long the fake functions' long polls last."""


@pytest.fixture(scope="module", autouse=True)
def _needs_dynoxide():
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))


class Things:
    """The fake functions over HTTP."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud

    def get(self, kind, name):
        answer = Gateway(self.cloud.port, None).request("GET", f"/things/{kind}/{name}")  # type: ignore[arg-type]
        return answer.json if answer.status == 200 else None

    def put(self, kind, name, body):
        gateway = Gateway(self.cloud.port, None)  # type: ignore[arg-type]
        answer = gateway.request("PUT", f"/things/{kind}/{name}", body.encode())
        assert answer.status == 200, self.cloud.output


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One local cloud for the tests that leave it running."""
    with local_cloud(tmp_path_factory.mktemp("data"), functions=FUNCTIONS) as cloud:
        yield Things(cloud)


def test_the_server_prints_how_to_connect(tmp_path):
    with local_cloud(tmp_path, functions=FUNCTIONS) as cloud:
        assert f"homeserver URL http://localhost:{cloud.port}" in cloud.output[-1]


def test_the_functions_settings(shared):
    assert shared.get("environment", "MURMURATION_SERVER_NAME") == f"localhost:{shared.cloud.port}"
    assert shared.get("environment", "MURMURATION_REGISTRATION") == "open"
    assert shared.get("environment", "MURMURATION_RATE_LIMITS") == "off"


def test_a_write_reaches_the_stream_worker_and_its_queue_worker(shared):
    shared.put("item", "room", "hello")
    until(lambda: shared.get("seen", "room"))
    note = shared.get("seen", "room")
    assert (note["json"], note["event"]) == ("hello", "INSERT")
    until(lambda: shared.get("seen", "queued-room"))


def test_everything_stored_survives_kill_9(tmp_path):
    with local_cloud(tmp_path, functions=FUNCTIONS) as cloud:
        things = Things(cloud)
        stop = threading.Event()
        answered: list[int] = []

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    things.put("item", f"room-{number}", "kept")
                    things.put("object", f"object-{number}", "kept")
                except (OSError, AssertionError):
                    return
                answered.append(number)

        things.put("parameter", "given", "kept")
        key = things.get("signing-key", "x")
        writer = threading.Thread(target=write)
        writer.start()
        until(lambda: len(answered) > 20)
        cloud.kill9()
        stop.set()
        writer.join(PATIENCE_S)
        cloud.restart()
        assert things.get("signing-key", "x") == key
        assert things.get("parameter", "given") == "kept"
        for number in answered:
            assert things.get("item", f"room-{number}") == "kept"
            assert things.get("object", f"object-{number}") == "kept"


def test_records_not_yet_processed_at_kill_9_are_processed_after(tmp_path):
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    environment = {"TEST_OBSTACLE": str(obstacle)}
    with local_cloud(tmp_path / "data", environment=environment, functions=FUNCTIONS) as cloud:
        things = Things(cloud)
        things.put("item", "room", "hello")
        cloud.kill9()
        obstacle.unlink()
        cloud.restart()
        until(lambda: things.get("seen", "room"))
        assert things.get("seen", "room")["json"] == "hello"


def test_a_second_server_on_the_same_data_is_refused_in_a_sentence(shared):
    second = LocalCloud(shared.cloud.data, {"functions": FUNCTIONS})
    with pytest.raises(LocalCloudError, match="is using the data folder") as refused:
        second.start()
    assert "Traceback" not in str(refused.value)


def test_a_port_in_use_is_refused_in_a_sentence(shared, tmp_path):
    second = LocalCloud(tmp_path, {"functions": FUNCTIONS}, port=shared.cloud.port)
    with pytest.raises(LocalCloudError, match="Can't listen on") as refused:
        second.start()
    assert "Traceback" not in str(refused.value)


def test_two_servers_run_side_by_side(shared, tmp_path):
    with local_cloud(tmp_path, functions=FUNCTIONS) as other:
        Things(other).put("item", "mine", "other")
        assert shared.get("item", "mine") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_long_polls_when_it_stops(tmp_path, number):
    cloud = LocalCloud(tmp_path, {"functions": FUNCTIONS})
    cloud.start()
    things = Things(cloud)
    answers: list[object] = []
    polls = [threading.Thread(target=lambda n=n: answers.append(things.get("wait", n))) for n in range(20)]
    for poll in polls:
        poll.start()
    until(lambda: all(things.get("object", f"waiting-{n}") is not None for n in range(20)))
    assert cloud._end(number, POLL_S - 2) == 0
    for poll in polls:
        poll.join(PATIENCE_S)
    assert answers == [[]] * 20, "each poll is told that nothing happened"


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)],
)
def test_two_signals_at_once_stop_it_as_one_does(tmp_path, numbers):
    cloud = LocalCloud(tmp_path, {"functions": FUNCTIONS})
    cloud.start()
    port = _database_port(cloud.output[0])
    for number in numbers[:-1]:
        os.kill(cloud.pid, number)
    assert cloud._end(numbers[-1], PATIENCE_S) == 0
    until(lambda: _refused(port))


def test_a_signal_while_it_starts_stops_it(tmp_path):
    arguments = ["--port", str(free_port()), "--data", str(tmp_path), "--functions", FUNCTIONS]
    with subprocess.Popen(
        [sys.executable, "-m", "operators.cli", "serve", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "Stopping" in rest
    until(lambda: _refused(_database_port(first)))


def test_the_handler_of_a_signal_may_be_interrupted_by_the_next():
    assert _run(
        """
        import os, signal
        from unittest.mock import patch
        write = os.write

        def interrupted(*arguments):
            if not stop.nested:
                stop.nested = True
                signal.raise_signal(signal.SIGTERM)
            return write(*arguments)

        stop.nested = False
        with patch("os.write", interrupted):
            signal.raise_signal(signal.SIGINT)
        stop.wait()
        """
    ) == (0, "")


def test_the_third_signal_ends_the_process_at_once():
    assert _run(
        """
        import signal
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        print("still here")
        """
    ) == (128 + signal.SIGINT, "")


def _run(script: str) -> tuple[int, str]:
    """Run a script with `stop` as the signals' handler, and return its exit status and output."""
    begin = "from local_cloud.stopping import StopSignals\nstop = StopSignals()\nstop.install()\n"
    ended = subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_the_database_dies_with_the_server(tmp_path):
    with local_cloud(tmp_path, functions=FUNCTIONS) as cloud:
        port = _database_port(cloud.output[0])
        socket.create_connection(("127.0.0.1", port)).close()
        cloud.kill9()
        until(lambda: _refused(port))


def test_options_come_from_the_environment_too(tmp_path):
    environment = {"MURMURATION_SERVER_NAME": "example.org", "MURMURATION_FUNCTIONS": FUNCTIONS}
    with local_cloud(tmp_path, environment=environment) as cloud:
        assert Things(cloud).get("environment", "MURMURATION_SERVER_NAME") == "example.org"


def test_moto_serves_small_tests(tmp_path):
    with local_cloud(tmp_path, functions=FUNCTIONS, dynamodb="moto") as cloud:
        things = Things(cloud)
        things.put("item", "room", "hello")
        assert things.get("item", "room") == "hello"
        until(lambda: things.get("seen", "room"))
        assert not (Path(cloud.data) / "dynamodb.sqlite3").exists()


def test_another_dynamodb_is_named_by_its_url(tmp_path):
    port = free_port()
    database = ThreadedMotoServer(port=port, verbose=False)
    database.start()
    try:
        url = f"http://127.0.0.1:{port}"
        with local_cloud(tmp_path, functions=FUNCTIONS, dynamodb=url) as cloud:
            Things(cloud).put("item", "room", "hello")
            until(lambda: Things(cloud).get("seen", "room"))
        with local_cloud(tmp_path, functions=FUNCTIONS, dynamodb=url) as cloud:
            assert Things(cloud).get("item", "room") == "hello"
            Things(cloud).put("item", "later", "hello again")
            until(lambda: Things(cloud).get("seen", "later"))
        assert not (tmp_path / "dynamodb.sqlite3").exists()
    finally:
        database.stop()


@pytest.mark.parametrize("name", ["dynamodb", "localhost:8000", "ftp://localhost"])
def test_a_database_that_is_none_is_refused(tmp_path, name):
    command = [sys.executable, "-m", "operators.cli", "serve", "--data", str(tmp_path), "--dynamodb", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "it must be dynoxide, moto, or a URL" in done.stderr


def test_help_names_the_commands():
    shown = subprocess.run(
        [sys.executable, "-m", "operators.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "Serve the homeserver on this machine." in shown.stdout


def _database_port(line: str) -> int:
    """Return the database's port from the server's output."""
    return int(line.split(":")[3].split(",", maxsplit=1)[0])


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

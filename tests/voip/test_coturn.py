"""A real coturn takes the credentials that are handed out, and no others."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from local_cloud.database.dynoxide import free_port
from murmuration import voip
from murmuration.aws import parameters
from murmuration.protocol.identifiers import UserId
from murmuration.settings import settings
from tests.aws import mocked_aws
from tests.logged_in import log_in

SECRET = "the secret that both know"
TURNSERVER = shutil.which("turnserver")
pytestmark = pytest.mark.skipif(
    TURNSERVER is None, reason="coturn is not installed (Debian's package: coturn)"
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Yield the port of a TURN server on this machine."""
    folder = tmp_path_factory.mktemp("coturn")
    found = free_port()
    settings_ = {
        "listening-ip": "127.0.0.1",
        "relay-ip": "127.0.0.1",
        "listening-port": found,
        "realm": "example.org",
        "static-auth-secret": SECRET,
        "userdb": folder / "users.sqlite3",
        "pidfile": folder / "pid",
        "log-file": "stdout",
    }
    flags = ("use-auth-secret", "no-cli", "no-tls", "no-dtls", "allow-loopback-peers", "fingerprint")
    config = folder / "turnserver.conf"
    config.write_text("".join(f"{name}={value}\n" for name, value in settings_.items()) + "\n".join(flags))
    assert TURNSERVER is not None
    process = subprocess.Popen(
        [TURNSERVER, "-c", config], cwd=folder, stdout=(folder / "log").open("w"), stderr=subprocess.STDOUT
    )
    try:
        _wait_for(found, process, folder / "log")
        yield found
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        with socket.socket() as probe:  # it listens for TCP, too
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return


@dataclass
class Credentials:
    username: str
    password: str


@pytest.fixture
def handed_out(fresh_user_id: Callable[..., str], port: int) -> Credentials:
    """Return the credentials that a user's client gets."""
    alice = log_in(UserId(fresh_user_id("alice")))
    with mocked_aws(MURMURATION_TURN_URIS=f"turn:127.0.0.1:{port}?transport=udp", MURMURATION_TURN_TTL="600"):
        name = settings().parameter(voip.SECRET)
        parameters.client().put_parameter(Name=name, Value=SECRET, Type="SecureString")
        answer = alice.get("/_matrix/client/v3/voip/turnServer").json
    return Credentials(answer["username"], answer["password"])


class Mailbox(asyncio.DatagramProtocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.came.put_nowait((data, addr))


async def relay(port: int, credentials: Credentials) -> tuple[bytes, bytes]:
    """Send a datagram through a relay and one back, and return what arrived. Raises TransactionFailed."""
    transport, mine = await create_turn_endpoint(
        Mailbox, ("127.0.0.1", port), credentials.username, credentials.password
    )
    loop = asyncio.get_running_loop()
    other, theirs = await loop.create_datagram_endpoint(Mailbox, ("127.0.0.1", 0))
    try:
        transport.sendto(b"ring", other.get_extra_info("sockname"))
        there, relayed_from = await asyncio.wait_for(theirs.came.get(), 10)
        assert relayed_from == transport.get_extra_info("sockname")
        other.sendto(b"hello", relayed_from)
        here, _ = await asyncio.wait_for(mine.came.get(), 10)
    finally:
        other.close()
        transport.close()
    return there, here


def test_a_call_is_relayed(port: int, handed_out: Credentials) -> None:
    assert asyncio.run(relay(port, handed_out)) == (b"ring", b"hello")


def test_credentials_of_another_user_or_time_are_refused(port: int, handed_out: Credentials) -> None:
    end, _, user = handed_out.username.partition(":")
    for username in (f"{end}:@mallory:example.org", f"{int(end) + 1}:{user}"):
        with pytest.raises(TransactionFailed, match="401"):
            asyncio.run(relay(port, Credentials(username, handed_out.password)))


def test_credentials_end(
    fresh_user_id: Callable[..., str],
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(voip, "now_ms", lambda: (int(time.time()) - 700) * 1000)
    with pytest.raises(TransactionFailed, match="401"):
        asyncio.run(relay(port, request.getfixturevalue("handed_out")))

"""Alice here, Bob elsewhere, and the queues between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from murmuration.aws import parameters
from murmuration.federation.ephemera import sending
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.settings import settings
from tests.federation.devices.elsewhere import Elsewhere, Streams
from tests.federation.inbound.conftest import worker  # noqa: F401 - a fixture
from tests.federation.network import Network
from tests.federation.outbound import Workers
from tests.federation.peers import SECRET, share_room
from tests.in_process import Client
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror, key_of


@pytest.fixture(autouse=True)
def _viewer_secret(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the secret that the viewer side puts on requests, and clear the caches of rooms."""
    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "viewer-secret")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()
    sending.forget()


@pytest.fixture
def alice(fresh_user_id: Callable[[str], str]) -> Client:
    return log_in(UserId(fresh_user_id("alice")), DeviceId("ALICE"))


@pytest.fixture
def make_elsewhere(network: Network, fresh_name: str) -> Callable[..., Elsewhere]:
    numbers = iter(range(100))

    def make() -> Elsewhere:
        name = ServerName(f"e{next(numbers)}-{fresh_name}")
        made = Elsewhere(name, key_of(name))
        made.serve(network)
        return made

    return make


@pytest.fixture
def elsewhere(make_elsewhere: Callable[..., Elsewhere]) -> Elsewhere:
    return make_elsewhere()


@pytest.fixture
def streams(workers: Workers) -> Streams:
    return Streams(workers)


@pytest.fixture
def room(alice: Client, elsewhere: Elsewhere, worker: object, workers: Workers) -> Mirror:  # noqa: F811
    """Return an encrypted room of Alice and Bob, of which everybody knows."""
    mirror = encrypted_room(alice, elsewhere)
    workers.skip(mirror.room_id)
    return mirror


def encrypted_room(alice: Client, *peers: Elsewhere) -> Mirror:
    encryption = {
        "type": "m.room.encryption",
        "state_key": "",
        "content": {"algorithm": "m.megolm.v1.aes-sha2"},
    }
    return share_room(alice, *peers, initial_state=[encryption])

"""Other servers that ask this one: signed requests to the functions, and users who act in its rooms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from murmuration.protocol.encoding import x_matrix
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.building import complete_event
from murmuration.protocol.room_versions import ROOM_VERSIONS
from tests.federation.remote import Remote
from tests.in_process import Answer, Client, segment

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

SECRET = "the viewer side's"
VERSIONS = ("1", "6", "10", "11", "12")
FED = "/_matrix/federation"


class Peer:
    """Requests that `remote` signs."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self._numbers = iter(range(1, 10_000))

    @property
    def name(self) -> ServerName:
        return self.remote.name

    def user(self, name: str = "rory") -> str:
        return f"@{name}:{self.remote.name}"

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        uri = f"{path}?{urlencode(query, doseq=True)}" if query else path
        content = x_matrix.ABSENT if body is None else body
        headers = {
            "Authorization": self.remote.authorization(method, uri, content),
            "x-murmuration-uri": uri,
            "x-murmuration-viewer-secret": SECRET,
        }
        return Client().request(method, uri, body, headers=headers)

    def get(self, path: str, **query: Any) -> Answer:
        return self.request("GET", path, **query)

    def put(self, path: str, body: Any, **query: Any) -> Answer:
        return self.request("PUT", path, body, **query)

    # -- Joining and the like ----------------------------------------------------------------------------

    def make(
        self, membership: str, room_id: str, user_id: str, versions: Any = tuple(ROOM_VERSIONS)
    ) -> Answer:
        query = {} if membership == "leave" or versions is None else {"ver": list(versions)}
        return self.get(f"{FED}/v1/make_{membership}/{segment(room_id)}/{segment(user_id)}", **query)

    def complete(self, made: Answer, **changes: Any) -> Event:
        """Return the event of a template, signed by the remote server."""
        version = ROOM_VERSIONS[made.json["room_version"]]
        pdu = {**made.json["event"], **changes}
        if version.server_assigned_event_ids:
            pdu["event_id"] = f"$e{next(self._numbers)}:{self.remote.name}"
        return complete_event(pdu, self.remote.name, self.remote.key, version)

    def send(self, membership: str, room_id: str, event: Event, *, api: str = "v2", **query: Any) -> Answer:
        api = "v1" if membership == "knock" else api
        path = f"{FED}/{api}/send_{membership}/{segment(room_id)}/{segment(event.event_id)}"
        return self.put(path, event.pdu, **query)

    def go(self, membership: str, room_id: str, user_id: str) -> Answer:
        """Make and send."""
        made = self.make(membership, room_id, user_id)
        assert made.status == 200, made.body
        return self.send(membership, room_id, self.complete(made))


@pytest.fixture
def viewer_secret(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield the secret that the viewer side puts on requests."""
    from murmuration.aws import parameters
    from murmuration.settings import settings

    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "viewer-secret")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def body_of(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return json.loads(answer.body)

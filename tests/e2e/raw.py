"""HTTP without a client library, for requests that such a library would never send."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from local_cloud.testing import LocalCloud
from tests import openapi

V3 = "/_matrix/client/v3"
IDLE_S = 20
"""After which a connection is made anew: the server closes one that is not used."""
PASSWORD = "correct horse battery staple"
_transactions = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """The status and errcode."""
        return self.status, self.json["errcode"]


class Raw:
    """One connection to a server, with the access token of one user; for one thread."""

    def __init__(self, cloud: LocalCloud, token: str = "", user_id: str = "", device_id: str = "") -> None:
        self.cloud = cloud
        self.token = token
        self.user_id = user_id
        self.device_id = device_id
        self._connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=90)
        self._used = time.monotonic()

    def request(
        self, method: str, uri: str, body: bytes = b"", *, token: str | None = None, **headers: str
    ) -> Answer:
        """Send a request as it is. `token` replaces the client's own token; "" sends none."""
        sent = {"Content-Type": "application/json", "Origin": "https://client.example", **headers}
        if token != "" and (token or self.token):
            sent["Authorization"] = f"Bearer {token or self.token}"
        if time.monotonic() - self._used > IDLE_S:
            self._connection.close()
        self._connection.request(method, uri, body, sent)
        response = self._connection.getresponse()
        self._used = time.monotonic()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())

    def json(self, method: str, uri: str, body: Any = None) -> Any:
        """Return the JSON of a request. The request must succeed, and the answer must match the
        specification's schemas.
        """
        sent = b"" if method == "GET" else json.dumps({} if body is None else body).encode()
        answer = self.request(method, uri, sent)
        assert answer.status == 200, (method, uri[:100], answer)
        openapi.check(openapi.Exchange(method, uri, sent, answer.status, answer.headers, answer.body))
        return answer.json

    def again(self) -> Raw:
        """Return the same user on another connection, which another thread may use."""
        return Raw(self.cloud, self.token, self.user_id, self.device_id)

    def close(self) -> None:
        self._connection.close()

    def send(self, room_id: str, text: str, txn_id: str | None = None) -> str:
        """Send a message, and return its event ID."""
        number = txn_id or f"t{next(_transactions)}"
        path = f"{V3}/rooms/{segment(room_id)}/send/m.room.message/{number}"
        return str(self.json("PUT", path, {"msgtype": "m.text", "body": text})["event_id"])

    def join(self, room_id: str) -> None:
        self.json("POST", f"{V3}/join/{segment(room_id)}")

    def create_room(self, **body: Any) -> str:
        return str(self.json("POST", f"{V3}/createRoom", body)["room_id"])

    def history(self, room_id: str) -> list[dict[str, Any]]:
        """Return the messages of a room from its beginning, read page by page."""
        events: list[dict[str, Any]] = []
        start = ""
        while True:
            page = self.json("GET", f"{V3}/rooms/{segment(room_id)}/messages?dir=f&limit=100{start}")
            events += [event for event in page["chunk"] if event["type"] == "m.room.message"]
            if "end" not in page:
                return events
            start = f"&from={segment(page['end'])}"


def register(cloud: LocalCloud, name: str) -> Raw:
    """Return a new user, logged in."""
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    found = Raw(cloud).json("POST", f"{V3}/register", body)
    return Raw(cloud, found["access_token"], found["user_id"], found["device_id"])


def segment(text: str) -> str:
    """Return `text` as one percent-encoded part of a path."""
    return quote(text, safe="")

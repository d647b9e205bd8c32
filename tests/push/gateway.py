"""A small push gateway over HTTP, and the workers between the server and it, called by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb
from murmuration.delivery import wakes
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.push import evaluation, gateways, ordering, outside_invites
from murmuration.settings import settings
from murmuration.storage.live import streams

PATH = "/_matrix/push/v1/notify"


class Gateway:
    """What came, oldest first; `status`, `headers` and `rejected` say how it answers."""

    def __init__(self) -> None:
        self.came: list[dict[str, Any]] = []
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.rejected: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def take(self) -> list[dict[str, Any]]:
        """Return the notifications since the last call."""
        came, self.came = self.came, []
        return came

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.path == PATH
                gateway.came.append(body["notification"])
                answer = json.dumps({"rejected": gateway.rejected}).encode()
                self.send_response(gateway.status)
                for name, value in gateway.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


class Workers:
    """The Streams workers and the queue `gateway-pushes`: `run` does all that there is to do."""

    def __init__(self) -> None:
        self.queue: list[tuple[dict[str, Any], int]] = []
        self._log: dict[str, int] = {}
        self._receipts: dict[str, int] = {}

    def send_each(self, name: str, bodies: Sequence[Mapping[str, Any]]) -> None:
        for body in bodies:
            self.send_later(name, body, 0)

    def send_later(self, name: str, body: Mapping[str, Any], delay_s: int) -> None:
        assert name == ordering.QUEUE
        self.queue.append((json.loads(json.dumps(body)), delay_s))

    def run(self, *room_ids: str, user_id: str = "") -> None:
        """Give new events of these rooms and of a user's stream to the workers, then do the work that they
        queue.
        """
        for room_id in room_ids:
            self._new_entries(room_id)
            self._new_receipts(RoomId(room_id))
        if user_id:
            stream = streams.user_stream(UserId(user_id))
            items = streams.read_after(stream, 0)
            with acting_for("workers.streams"):
                outside_invites.note_outside_invites(items)
        self.deliver()

    def deliver(self, *, late: bool = False) -> None:
        """Process the messages of the queue; with `late` also the delayed ones."""
        waiting = self.queue
        self.queue = [each for each in waiting if each[1] and not late]
        with acting_for("workers.pushes"):
            for body, delay_s in waiting:
                if not delay_s or late:
                    gateways.deliver(body)

    def _new_entries(self, room_id: str) -> None:
        after = self._log.get(room_id, 0)
        items = dynamodb.query(
            "room-log", "room_id = :room AND ordinal > :after", {":room": room_id, ":after": after}
        )
        if items:
            self._log[room_id] = items[-1]["ordinal"]
            with acting_for("workers.streams"):
                evaluation.order_pushes(items, wakes.wake_for_log_entries(items))

    def _new_receipts(self, room_id: RoomId) -> None:
        stream = streams.room_stream(room_id)
        items = streams.read_after(stream, self._receipts.get(stream, 0))
        if items:
            self._receipts[stream] = items[-1]["seq"]
            with acting_for("workers.streams"):
                evaluation.note_receipts(items)


@pytest.fixture
def gateway(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """Yield a gateway at a private address, to which this server may send."""
    monkeypatch.setenv("MURMURATION_PUSH_PRIVATE_GATEWAYS", "on")
    settings.cache_clear()
    made = Gateway()
    yield made
    made.close()
    monkeypatch.undo()
    settings.cache_clear()

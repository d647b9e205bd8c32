"""An app's day by sliding sync, over real HTTP: what Element X's SDK was recorded to ask, in its order.

Both connections of a device wait at the same time, requests are given up, the app restarts and logs out.
"""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from local_cloud.testing import LocalCloud
from tests.e2e.raw import V3, Answer, Raw, register, segment
from tests.local_cloud.waiting import PATIENCE_S
from tests.sliding_sync import shapes
from tests.sliding_sync.client import PATH, ROOM_LIST, all_rooms, notified, opened

TRANSACTION = "0123456789abcdef0123456789abcdef"
ENCRYPTED = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


class App:
    """One device's app: `pos` by connection, the list's range, the opened rooms."""

    def __init__(self, person: Raw, pool: ThreadPoolExecutor) -> None:
        self.person = person
        self.pool = pool
        self.pos: dict[str, str] = {}
        self.since: str | None = None
        self.last = 19
        self.opened: dict[str, Any] = {}

    def body(self, conn_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {"conn_id": conn_id, "txn_id": TRANSACTION}
        if conn_id == "encryption":
            to_device = {"enabled": True} | ({"since": self.since} if self.since else {})
            return {**body, "extensions": {"to_device": to_device, "e2ee": {"enabled": True}}}
        lists = {"all_rooms": all_rooms(self.last)}
        return {**body, "lists": lists, "room_subscriptions": self.opened, "extensions": ROOM_LIST}

    def uri(self, conn_id: str, timeout: int | None = None) -> str:
        query = {"pos": self.pos.get(conn_id), "timeout": timeout}
        return f"{PATH}?{urlencode({name: value for name, value in query.items() if value is not None})}"

    def ask(self, conn_id: str, timeout: int | None = None) -> Answer:
        """Return the answer of a request. If the answer only says to wait on or to come again, return the
        next one.
        """
        while True:
            uri, body = self.uri(conn_id, timeout), json.dumps(self.body(conn_id)).encode()
            answer = self.person.again().request("POST", uri, body)
            if timeout is None or answer.status != 200 or not is_quiet(answer.json):
                return answer
            self.take(conn_id, answer)

    def take(self, conn_id: str, answer: Answer) -> Any:
        """Continue from an answer, and check its shape against the recorded one."""
        assert answer.status == 200, answer
        shapes.check(answer.json)
        self.pos[conn_id] = answer.json["pos"]
        if conn_id == "encryption":
            self.since = answer.json["extensions"]["to_device"]["next_batch"]
        else:
            self.last = max(answer.json["lists"]["all_rooms"]["count"] - 1, 0)
        return answer.json

    def now(self, conn_id: str) -> Any:
        """Return the answer to a request without a timeout."""
        return self.take(conn_id, self.ask(conn_id))

    def poll(self, conn_id: str) -> Future[Answer]:
        return self.pool.submit(self.ask, conn_id, 30_000)

    def give_up(self, conn_id: str) -> None:
        """Send a long poll and close the connection before there is an answer."""
        content = json.dumps(self.body(conn_id)).encode()
        lines = (
            f"POST {self.uri(conn_id, 30_000)} HTTP/1.1",
            "Host: example.org",
            f"Authorization: Bearer {self.person.token}",
            f"Content-Length: {len(content)}",
        )
        with socket.create_connection(("127.0.0.1", self.person.cloud.port)) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)

    def until(self, conn_id: str, found: Any) -> Any:
        """Send long polls until an answer has what is looked for, and return the answer."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < deadline:
            answer = self.take(conn_id, self.ask(conn_id, 20_000))
            if found(answer):
                return answer
        raise AssertionError("it never came")


def is_quiet(answer: Any) -> bool:
    """Return whether an answer with a mark or a call contains no news."""
    parts = answer["extensions"]
    told = parts.keys() - {"to_device", "e2ee"} or parts.get("to_device", {}).get("events")
    told = told or parts.get("e2ee", {}).get("device_lists") or answer["rooms"]
    return answer["pos"].startswith(("lp_", "lc_", "lr_")) and not told


def bodies(answer: Any, room_id: str) -> list[str]:
    timeline = answer["rooms"].get(room_id, {}).get("timeline", [])
    return [event["content"]["body"] for event in timeline if "body" in event["content"]]


def test_an_apps_day(shared_cloud: LocalCloud) -> None:
    versions = Raw(shared_cloud).json("GET", "/_matrix/client/versions")
    assert versions["unstable_features"]["org.matrix.simplified_msc3575"] is True
    alice, bob = register(shared_cloud, "sliding-alice"), register(shared_cloud, "sliding-bob")
    with ThreadPoolExecutor(8) as pool:
        app = App(alice, pool)
        _logs_in(app)
        room_id = _is_invited(app, bob)
        _opens_the_room(app, bob, room_id)
        _is_told_of_all_else(app, bob, room_id)
        _is_called(app, bob, room_id)
        _restarts(app, bob, room_id)
        _logs_out(app)


def _logs_in(app: App) -> None:
    """Check that the list is loaded at once, and the other connection's first answer too, whatever its
    timeout.
    """
    first = app.now("room-list")
    assert first["lists"]["all_rooms"]["count"] == 0
    types = {event["type"] for event in first["extensions"]["account_data"]["global"]}
    assert "m.push_rules" in types
    answer = app.take("encryption", app.poll("encryption").result(PATIENCE_S))
    assert answer["extensions"]["e2ee"]["device_one_time_keys_count"] == {}
    assert app.now("room-list")["rooms"] == {}


def _is_invited(app: App, bob: Raw) -> str:
    polls = app.poll("room-list"), app.poll("encryption")
    room_id = bob.create_room(name="Tea", initial_state=[ENCRYPTED], invite=[app.person.user_id])
    answer = app.take("room-list", polls[0].result(PATIENCE_S))
    assert answer["lists"]["all_rooms"]["count"] == 1
    stripped = {event["type"]: event for event in answer["rooms"][room_id]["invite_state"]}
    assert stripped["m.room.member"]["content"]["membership"] in ("invite", "join")
    app.person.join(room_id)
    joined = app.until("room-list", lambda answer: answer["rooms"].get(room_id, {}).get("timeline"))
    section = joined["rooms"][room_id]
    assert (section["initial"], section["name"], section["joined_count"]) == (True, "Tea", 2)
    lists = app.take("encryption", polls[1].result(PATIENCE_S))["extensions"]["e2ee"]["device_lists"]
    assert bob.user_id in lists["changed"]
    return room_id


def _opens_the_room(app: App, bob: Raw, room_id: str) -> None:
    for body in ("one", "two", "three"):
        bob.send(room_id, body)
    app.until("room-list", lambda answer: bodies(answer, room_id)[-1:] == ["three"])
    app.give_up("room-list")
    app.opened[room_id] = opened()
    section = app.take("room-list", app.poll("room-list").result(PATIENCE_S))
    assert bodies(section, room_id) == ["one", "two", "three"]
    assert section["rooms"][room_id]["unstable_expanded_timeline"] is True
    poll = app.poll("room-list")
    bob.send(room_id, "four")
    answer = app.take("room-list", poll.result(PATIENCE_S))
    assert bodies(answer, room_id) == ["four"]
    assert answer["rooms"][room_id]["num_live"] == 1


def _is_told_of_all_else(app: App, bob: Raw, room_id: str) -> None:
    room = f"{V3}/rooms/{segment(room_id)}"
    bob.json("PUT", f"{room}/typing/{segment(bob.user_id)}", {"typing": True, "timeout": 30_000})
    typing = app.until("room-list", lambda answer: "typing" in answer["extensions"])["extensions"]["typing"]
    assert typing["rooms"][room_id]["content"]["user_ids"] == [bob.user_id]
    event_id = app.person.send(room_id, "five")
    bob.json("POST", f"{room}/receipt/m.read/{segment(event_id)}")
    app.until("room-list", lambda answer: event_id in str(answer["extensions"].get("receipts", "")))
    poll = app.poll("encryption")
    messages = {app.person.user_id: {app.person.device_id: {"body": "psst"}}}
    bob.json("PUT", f"{V3}/sendToDevice/org.example.whisper/w1", {"messages": messages})
    found = app.take("encryption", poll.result(PATIENCE_S))["extensions"]["to_device"]["events"]
    while not found:
        found = app.take("encryption", app.ask("encryption", 20_000))["extensions"]["to_device"]["events"]
    assert [event["content"] for event in found] == [{"body": "psst"}]


def _restarts(app: App, bob: Raw, room_id: str) -> None:
    """Check a restart: the app keeps the list's pos and the position in to-device messages, but not the other
    pos.
    """
    app.give_up("room-list")
    bob.send(room_id, "six")
    app.opened = {}
    app.pos.pop("encryption")
    answer = app.take("encryption", app.poll("encryption").result(PATIENCE_S))
    assert answer["extensions"]["to_device"]["events"] == []
    assert bodies(app.now("room-list"), room_id) == ["six"]
    assert app.now("room-list")["rooms"] == {}
    app.pos["room-list"] = "l0.0.abcdefghijkl"
    assert app.ask("room-list").error == (400, "M_UNKNOWN_POS")
    app.pos.pop("room-list")
    assert app.now("room-list")["rooms"][room_id]["initial"] is True


def _is_called(app: App, bob: Raw, room_id: str) -> None:
    """Check a push while both connections wait: a third connection fetches the event, and the call ends by
    itself.
    """
    polls = {conn_id: app.poll(conn_id) for conn_id in ("room-list", "encryption")}
    call, key = "org.matrix.msc3401.call.member", f"_{bob.user_id}_{bob.device_id}_m.call"
    state = f"{V3}/rooms/{segment(room_id)}/state/{call}/{segment(key)}"
    delayed = bob.request("PUT", f"{state}?org.matrix.msc4140.delay=1000", b"{}")
    assert "delay_id" in delayed.json
    content = {"application": "m.call", "call_id": "", "device_id": bob.device_id}
    bob.json("PUT", state, content)
    uri = f"{PATH}?timeout=1000"
    answer = app.person.again().json("POST", uri, notified(room_id))
    shapes.check(answer)
    section = answer["rooms"][room_id]
    assert (section["initial"], answer["lists"]["invites"]["count"]) == (True, 0)
    assert section["timeline"][-1]["content"] == content
    types = {event["type"] for event in section["required_state"]}
    assert {"m.room.power_levels", "m.room.create", "m.room.encryption", "m.room.member", call} <= types
    first = app.take("room-list", polls["room-list"].result(PATIENCE_S))
    while _call_of(first, room_id) != {}:
        first = app.until("room-list", lambda answer: _call_of(answer, room_id) is not None)
    messages: dict[str, Any] = {app.person.user_id: {app.person.device_id: {"keys": {}}}}
    bob.json("PUT", f"{V3}/sendToDevice/io.element.call.encryption_keys/w2", {"messages": messages})
    told = app.take("encryption", polls["encryption"].result(PATIENCE_S))
    found = told["extensions"]["to_device"]["events"]
    assert [event["type"] for event in found] == ["io.element.call.encryption_keys"]


def _call_of(answer: Any, room_id: str) -> Any:
    """Return the last call event of the room in an answer; None if there is none."""
    timeline = answer["rooms"].get(room_id, {}).get("timeline", [])
    calls = [event["content"] for event in timeline if event["type"] == "org.matrix.msc3401.call.member"]
    return calls[-1] if calls else None


def _logs_out(app: App) -> None:
    polls = {conn_id: app.poll(conn_id) for conn_id in ("room-list", "encryption")}
    app.person.again().json("POST", f"{V3}/logout")
    for conn_id, poll in polls.items():
        answer = poll.result(PATIENCE_S)
        while answer.status != 401:  # what the device has goes before it does
            if answer.status == 200:
                app.take(conn_id, answer)
            else:
                assert answer.error == (400, "M_UNKNOWN_POS")
                app.pos.pop(conn_id)
            answer = app.ask(conn_id, 20_000)
        assert answer.error == (401, "M_UNKNOWN_TOKEN")

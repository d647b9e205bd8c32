"""Clients of sliding sync that wait without a function: who decides it, and what the templates do."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import requests

from infra_shared.parking import SLIDING_PARAMETERS, operations, template
from local_cloud.gateway.events import HttpRequest
from local_cloud.gateway.parking import place_of, render
from local_cloud.testing import local_cloud
from murmuration.sliding_sync import marks
from murmuration.sliding_sync.marks import HALF, WITHOUT, Asking, called, digest_of, quiet
from murmuration.storage.live.token_forms import REFUSED_POS
from murmuration.storage.live.wake_queues import encode_text
from tests.local_cloud.gateway.test_parking import NOW, RING, VIEWER, User
from tests.local_cloud.waiting import PATIENCE_S
from tests.sliding_sync import shapes
from tests.sliding_sync.client import MERGED, PATH, ROOM_LIST, all_rooms, opened

BODY = b'{"conn_id":"a","txn_id":"1","lists":{"x":{"ranges":[[0,19]]}}}'
KEYS = {"device_one_time_keys_count": {"a": 1}, "device_unused_fallback_key_types": []}
ANSWER = {
    "lists": {"x": {"count": 3}},
    "rooms": {},
    "extensions": {"to_device": {"next_batch": "d1", "events": []}, "e2ee": KEYS},
}
_RUN = """
const fs = require('fs');
const edge = 'AT_EDGE = ' + process.argv[3];
const source = fs.readFileSync(process.argv[1], 'utf8').replace('AT_EDGE = false', edge);
const chosen = [];
const cf = { selectRequestOriginById: (id) => chosen.push(id) };
const handler = new Function('require', 'cf', source + '; return handler;')(require, cf);
Date.now = () => Number(process.argv[2]);
const answers = JSON.parse(fs.readFileSync(0, 'utf8')).map((request) => {
    const raw = request.raw;
    request.rawQueryString = () => raw;
    chosen.length = 0;
    return { request: handler({ request }), origin: chosen[0] || null };
});
process.stdout.write(JSON.stringify(answers));
"""


def marked(
    body: bytes = BODY,
    *,
    path: str = PATH,
    token: str = "Bearer token",
    until: int = 600,
    age: int = 0,
    at_edge: bool = False,
    prefix: str = "lp_",
) -> str:
    asking = Asking.of((token, "", "", path), body, at_edge=at_edge)
    parts = (f"{prefix}00AAAAAAAAAAAA", "q3", "ab" * 16, asking.fingerprint, str(NOW // 1000 + until))
    return ".".join((*parts, encode_text(quiet(ANSWER)), asking.digest, str(NOW - age)))


def asked(
    pos: str | None = None, *, path: str = PATH, method: str = "POST", length: int = len(BODY), **query: str
) -> HttpRequest:
    headers = [(b"authorization", b"Bearer token"), (b"content-type", b"text/plain")]
    if length:
        headers.append((b"content-length", str(length).encode()))
    given = {"pos": pos or marked(), "timeout": "30000"} | query
    return HttpRequest(method, path, urlencode(given), headers, "192.0.2.1", "HTTP/1.1")


CASES: dict[str, tuple[HttpRequest, int | None]] = {
    "waits": (asked(), 20),
    "by the merged form": (asked(marked(path=MERGED), path=MERGED), 20),
    "by the other form's mark": (asked(path=MERGED), None),
    "as long as the client": (asked(timeout="5500"), 5),
    "without waiting": (asked(timeout="0"), None),
    "with a body of another length": (asked(length=len(BODY) + 1), None),
    "without a length": (asked(length=0), None),
    "with another access token": (asked(marked(token="Bearer other")), None),
    "with presence": (asked(set_presence="offline"), None),
    "near the mark's end": (asked(marked(until=7)), 7),
    "past the mark's end": (asked(marked(until=0)), None),
    "after a long absence": (asked(marked(age=45_001)), None),
    "with a mark of /sync": (asked(marked(prefix="p_")), None),
    "with a call": (asked(called(marked())), None),
    "with a plain pos": (asked("l0.0.AAAAAAAAAAAA"), None),
    "with a mark of the edge": (asked(marked(at_edge=True)), None),
    "by another method": (asked(method="GET"), None),
    "a mark of sliding sync in /sync": (
        asked(path="/_matrix/client/v3/sync", method="GET", since=marked()),
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_who_waits(name: str) -> None:
    request, seconds = CASES[name]
    place = place_of(request, NOW)
    assert (place and int(place.parameters["wait"])) == seconds
    if place is not None:
        assert place.queue == "ab" * 16
        assert place.parameters["call"] == f"lc_00AAAAAAAAAAAA.q3.{'ab' * 16}" == called(marked())
        assert set(place.parameters) == set(SLIDING_PARAMETERS)


def _by_viewer(requests_: list[HttpRequest], at_edge: str = "false") -> list[Any]:
    def for_cloudfront(request: HttpRequest) -> dict[str, Any]:
        pairs = [pair.partition("=") for pair in request.query.split("&") if pair]
        return {
            "method": request.method,
            "uri": request.path,
            "querystring": {name: {"value": value} for name, _, value in pairs},
            "headers": {name.decode(): {"value": value.decode()} for name, value in request.headers},
            "raw": request.query,
        }

    run = subprocess.run(
        ["node", "-e", _RUN, "--", str(VIEWER), str(NOW), at_edge],
        input=json.dumps([for_cloudfront(request) for request in requests_]),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[Any] = json.loads(run.stdout)
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="Node runs the viewer function")
class TestViewer:
    def test_it_decides_the_same(self) -> None:
        answers = _by_viewer([request for request, _ in CASES.values()])
        for name, answer in zip(CASES, answers, strict=True):
            place, seen = place_of(CASES[name][0], NOW), answer["request"]
            if place is None:
                assert seen["uri"] == CASES[name][0].path, name
                continue
            assert seen["uri"] == f"/parked/{place.queue}", name
            assert {key: entry["value"] for key, entry in seen["querystring"].items()} == place.parameters
            assert seen["headers"]["content-type"] == {"value": "application/json"}

    def test_at_the_edge_the_rest_api_is_asked(self) -> None:
        """SQS itself can't compare the body, and gets nothing from the client's request."""
        request = asked(marked(at_edge=True))
        (answer,) = _by_viewer([request], "true")
        place = place_of(request, NOW, at_edge=True)
        assert place is not None
        seen = answer["request"]
        assert (answer["origin"], seen["uri"], seen["querystring"]) == ("parking", "/" + "ab" * 16, {})
        headers = {name: entry["value"] for name, entry in seen["headers"].items()}
        assert headers == {
            "content-type": "application/json",
            "content-length": str(len(BODY)),
            **{f"x-murmuration-{name}": value for name, value in place.parameters.items()},
        }


def waited(body: str, *, encoded: bool, **parameters: str) -> str:
    """Return the number of seconds for which the request template lets SQS wait."""
    sent = base64.b64encode(body.encode()).decode() if encoded else body
    given = {"wait": "20", "digest": digest_of(BODY.decode())} | parameters
    found = parse_qs(render(template("sliding_request"), given, NOW, sent), strict_parsing=True)
    assert {name: values[0] for name, values in found.items() if name != "WaitTimeSeconds"} == {
        "Action": "ReceiveMessage",
        "Version": "2012-11-05",
        "MaxNumberOfMessages": "1",
        "VisibilityTimeout": "0",
    }
    return found["WaitTimeSeconds"][0]


@pytest.mark.parametrize("encoded", [True, False])
class TestTemplates:
    def test_the_same_body_waits(self, *, encoded: bool) -> None:
        body = BODY.decode()
        assert waited(body, encoded=encoded) == "20"
        assert waited(body.replace('"txn_id":"1"', '"txn_id":"another"'), encoded=encoded) == "20"
        assert waited(body, encoded=encoded, wait="20&VisibilityTimeout=900") == "20&VisibilityTimeout=900"

    @pytest.mark.parametrize("other", [BODY.decode().replace("19", "18"), "{}", '{"conn_id":"ü$x #if"}'])
    def test_another_body_asks_for_what_sqs_refuses(self, other: str, *, encoded: bool) -> None:
        assert waited(other, encoded=encoded) == "-1"

    @pytest.mark.parametrize(
        ("said", "pos", "tells"),
        [
            ("<ReceiveMessageResponse/>", f"lp_row.mark.{NOW}", True),
            (RING, "lc_row.q1.ab", False),
            ("<ErrorResponse><Error><Code>InvalidParameterValue</Code></Error>", "lr_row.q1.ab", False),
            ('{"Error": {"Code": "QueueDoesNotExist"}}', "lr_row.q1.ab", False),
        ],
    )
    def test_what_a_client_is_told(self, said: str, pos: str, tells: bool, *, encoded: bool) -> None:
        """Only a client without news continues to wait, and only it is told the counts of keys."""
        body = base64.b64encode(said.encode()).decode() if encoded else said
        given = {"keep": "lp_row.mark", "call": "lc_row.q1.ab", "keys": encode_text(quiet(ANSWER))}
        answer = json.loads(render(template("sliding_response"), given, NOW, body))
        shapes.check(answer)
        messages = {"to_device": {"next_batch": "d1", "events": []}}
        expected = messages | ({"e2ee": KEYS} if tells else {})
        assert answer == {**ANSWER, "pos": pos, "extensions": expected}


def test_the_template_leaves_out_what_the_digest_does() -> None:
    text = template("sliding_request")
    assert f"replaceAll('{WITHOUT.pattern}', '')" in text
    assert f"replaceAll('{HALF.pattern}', '')" in text


def test_a_refused_mark_becomes_what_the_template_makes_of_it() -> None:
    assert called(marked(), REFUSED_POS) == f"lr_00AAAAAAAAAAAA.q3.{'ab' * 16}"
    assert marks.place(called(marked(), REFUSED_POS)) == marks.place(marked())


@pytest.mark.parametrize("at_edge", [True, False])
def test_each_way_has_an_operation_of_its_own(*, at_edge: bool) -> None:
    found = operations("", "", {}, at_edge=at_edge)
    names = {
        method: [each["name"].removeprefix("x-murmuration-") for each in operation["parameters"]]
        for method, operation in found.items()
    }
    assert names == {"get": ["queue", *SLIDING_PARAMETERS[:-1]], "post": ["queue", *SLIDING_PARAMETERS]}


class App(User):
    """An app that waits by both of its connections."""

    def slide(self, body: Any, pos: str | None = None, timeout: int | None = 30_000) -> Any:
        query = {"pos": pos, "timeout": timeout}
        url = self.url.replace("/_matrix/client/v3", PATH)
        found = requests.post(url, json=body, params=query, headers=self.headers, timeout=90)
        assert found.status_code == 200, found.text
        shapes.check(found.json())
        return found.json()


@pytest.mark.parametrize("waits", ["rest", "edge"])
def test_an_app_is_parked_and_called(waits: str, tmp_path: Path) -> None:
    with local_cloud(tmp_path, environment={"MURMURATION_PASSWORD_COST": "4"}, waits=waits) as cloud:
        alice, bob = User(cloud.url, "alice"), App(cloud.url, "bob")
        rooms = [alice.post("createRoom", {"preset": "public_chat"})["room_id"] for _ in range(2)]
        for room_id in rooms:
            bob.post(f"join/{room_id}", {})
            alice.send(room_id, "one")
            alice.send(room_id, "two")
        body = {
            "conn_id": "room-list",
            "txn_id": "1",
            "lists": {"all": all_rooms()},
            "room_subscriptions": {rooms[0]: opened()},
            "extensions": ROOM_LIST,
        }
        plain = bob.slide(body)["pos"]
        mark = bob.slide(body, plain)["pos"]
        assert mark.startswith("lp_")
        kept = bob.slide({**body, "txn_id": "2"}, mark, timeout=1_000)
        assert kept["pos"].rpartition(".")[0] == mark.rpartition(".")[0]
        assert kept["pos"] != mark
        assert kept["lists"] == {"all": {"count": 2}}
        swapped = {**body, "room_subscriptions": {rooms[1]: opened()}}
        assert len(json.dumps(swapped)) == len(json.dumps(body))
        refused = bob.slide(swapped, kept["pos"])
        assert (refused["pos"], refused["rooms"]) == (called(mark, REFUSED_POS), {})
        told = bob.slide(swapped, refused["pos"])
        assert "unstable_expanded_timeline" in told["rooms"][rooms[1]], "the other room, at once"
        longer = {**body, "room_subscriptions": {room_id: opened() for room_id in rooms}}
        quiet_pos = bob.slide(longer, told["pos"])["pos"]
        assert quiet_pos.startswith("lp_")
        with ThreadPoolExecutor() as pool:
            calls = [pool.submit(bob.slide, longer, quiet_pos) for _ in range(2)]
            alice.send(rooms[0], "hello")
            assert {call.result(PATIENCE_S)["pos"] for call in calls} == {called(quiet_pos)}
        news = bob.slide(longer, called(quiet_pos))
        assert [each["content"]["body"] for each in news["rooms"][rooms[0]]["timeline"]] == ["hello"]
        assert news["pos"].startswith("lp_"), "it may wait again at once"
        assert news["pos"].split(".")[1] != quiet_pos.split(".")[1]

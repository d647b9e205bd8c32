"""Waiting without compute: which requests are sent to a queue, and the answers of the templates."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

import pytest
import requests

from infra_shared.parking import chosen_response, integration_responses, operation, template
from local_cloud.gateway.events import HttpRequest
from local_cloud.gateway.parking import is_internal, place_of, render
from local_cloud.testing import local_cloud
from murmuration.storage.live.token_forms import MARK
from murmuration.storage.live.wake_queues import encode_keys
from murmuration.sync.marks import called, fingerprint
from tests.local_cloud.waiting import PATIENCE_S

if TYPE_CHECKING:
    from murmuration.storage.json_types import KeyCountsSection

NOW = 1_800_000_000_000
INTERNAL = (
    "/parked/0123", "/parked", "/parked/", "//parked/0123", "/./parked/0123", "/x/../parked/0123",
    "/%70arked/0123", "/%2570arked/0123", "/parked%2F0123", "/%2e/parked/0123", "/PARKED/0123",
    "/\\parked/0123", "/parked/%ff", "/%70arked/%ff", "/../parked/0123",
)  # fmt: skip
"""Ways to write the queues' path, which is for nobody outside."""
NOT_INTERNAL = ("/parkeds/0123", "/_matrix/parked/0123", "/parke/d", "/%ff/parked")
VIEWER = Path("infra_shared/viewer.js")
KEYS = base64.urlsafe_b64encode(
    b'"device_one_time_keys_count":{"a":1},"device_unused_fallback_key_types":[] '
)
_RUN = """
const fs = require('fs');
const source = fs.readFileSync(process.argv[1], 'utf8');
const handler = new Function('require', source + '; return handler;')(require);
Date.now = () => Number(process.argv[2]);
const answers = JSON.parse(fs.readFileSync(0, 'utf8')).map((request) => {
    const raw = request.raw;
    request.rawQueryString = () => raw;
    return handler({ request });
});
process.stdout.write(JSON.stringify(answers));
"""


def marked(
    *,
    asked: tuple[str, ...] = ("Bearer token", "", "", "", "", ""),
    until: int = 600,
    age: int = 0,
    queue: str = "ab",
) -> str:
    parts = ("p_AAAAAAAAAAAA", "p3", queue * 16, fingerprint(asked), str(NOW // 1000 + until))
    return ".".join((*parts, KEYS.decode().rstrip("="), str(NOW - age)))


def request(path: str = "/_matrix/client/v3/sync", *, method: str = "GET", **query: str) -> HttpRequest:
    headers = [(b"authorization", b"Bearer token"), (b"content-type", b"text/plain")]
    return HttpRequest(method, path, urlencode(query), headers, "192.0.2.1", "HTTP/1.1")


FILTER = '{"a": "ü+"}'
CASES: dict[str, tuple[HttpRequest, int | None]] = {
    "waits": (request(since=marked(), timeout="30000"), 20),
    "waits as long as the client": (request(since=marked(), timeout="5500"), 5),
    "by the older version": (request("/_matrix/client/r0/sync", since=marked(), timeout="30000"), 20),
    "with the filter that it asked with": (
        request(
            since=marked(asked=("Bearer token", "", '{"a": "ü+"}', "", "", "")),
            timeout="9000",
            filter='{"a": "ü+"}',
        ),
        9,
    ),
    "with another filter": (request(since=marked(), timeout="30000", filter="1"), None),
    "with another access token": (
        request(since=marked(asked=("Bearer other", "", "", "", "", "")), timeout="30000"),
        None,
    ),
    "with presence": (request(since=marked(), timeout="30000", set_presence="offline"), None),
    "with the state after": (request(since=marked(), timeout="30000", use_state_after="true"), None),
    "with the state after by its unstable name": (
        request(since=marked(), timeout="30000", **{"org.matrix.msc4222.use_state_after": "true"}),
        None,
    ),
    "with full state": (request(since=marked(), timeout="30000", full_state="true"), None),
    "without waiting": (request(since=marked(), timeout="0"), None),
    "without a timeout": (request(since=marked()), None),
    "for less than a second": (request(since=marked(), timeout="999"), None),
    "with a senseless timeout": (request(since=marked(), timeout="soon"), None),
    "near the mark's end": (request(since=marked(until=7), timeout="30000"), 7),
    "past the mark's end": (request(since=marked(until=0), timeout="30000"), None),
    "after a long absence": (request(since=marked(age=45_001), timeout="30000"), None),
    "after a short absence": (request(since=marked(age=44_999), timeout="30000"), 20),
    "with a plain token": (request(since="s_AAAAAAAAAAAA", timeout="30000"), None),
    "with a queue that can't be": (request(since=marked(queue="x/"), timeout="30000"), None),
    "elsewhere": (request("/_matrix/client/v3/rooms", since=marked(), timeout="30000"), None),
    "by another method": (request(method="PUT", since=marked(), timeout="30000"), None),
}


@pytest.mark.parametrize("name", CASES)
def test_who_waits(name: str) -> None:
    asked, seconds = CASES[name]
    place = place_of(asked, NOW)
    assert (place and int(place.parameters["wait"])) == seconds
    if place is not None:
        assert place.queue == "ab" * 16
        assert place.parameters["call"] == f"c_AAAAAAAAAAAA.p3.{'ab' * 16}" == called(marked())


@pytest.mark.skipif(shutil.which("node") is None, reason="Node runs the viewer function")
def test_the_viewer_function_knows_marks_by_their_form() -> None:
    assert f"/^{MARK}$/" in VIEWER.read_text()


def test_the_viewer_function_decides_the_same() -> None:
    def for_cloudfront(asked: HttpRequest) -> dict[str, Any]:
        pairs = [pair.partition("=") for pair in asked.query.split("&") if pair]
        return {
            "method": asked.method,
            "uri": asked.path,
            "querystring": {name: {"value": value} for name, _, value in pairs},
            "headers": {name.decode(): {"value": value.decode()} for name, value in asked.headers},
            "raw": asked.query,
        }

    sent = json.dumps([for_cloudfront(asked) for asked, _ in CASES.values()])
    run = subprocess.run(
        ["node", "-e", _RUN, "--", str(VIEWER), str(NOW)],
        input=sent,
        capture_output=True,
        text=True,
        check=True,
    )
    for name, answer in zip(CASES, json.loads(run.stdout), strict=True):
        place = place_of(CASES[name][0], NOW)
        if place is None:
            assert answer["uri"] == CASES[name][0].path, name
            continue
        assert answer["uri"] == f"/parked/{place.queue}", name
        parameters = {key: entry["value"] for key, entry in answer["querystring"].items()}
        assert parameters == place.parameters, name
        assert "content-type" not in answer["headers"]


PARAMETERS = {"wait": "20", "keep": "p_row.mark", "call": "c_row", "keys": KEYS.decode()}
NOTHING, RING = (
    json.dumps({"ReceiveMessageResponse": {"ReceiveMessageResult": {"messages": messages}}})
    for messages in (None, [{"ReceiptHandle": "handle", "Body": "nonce"}])
)
SAID = {
    "nothing": (NOTHING, f"p_row.mark.{NOW}"),
    "nothing, as XML": (
        "<ReceiveMessageResponse><ReceiveMessageResult/></ReceiveMessageResponse>",
        f"p_row.mark.{NOW}",
    ),
    "a ring": (RING, "c_row"),
    "a queue that is gone": (
        json.dumps({"Error": {"Code": "QueueDoesNotExist", "Message": "The specified queue does not exist"}}),
        "c_row",
    ),
    "a queue that is gone, as XML": (
        "<ErrorResponse><Error><Code>AWS.SimpleQueueService.NonExistentQueue</Code></Error></ErrorResponse>",
        "c_row",
    ),
    "too many requests": (json.dumps({"message": "Rate exceeded"}), "c_row"),
    "no body": ("", "c_row"),
    "something else": ("{}", "c_row"),
}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("encoded", [True, False])
def test_only_who_was_told_of_nothing_goes_on_waiting(name: str, encoded: bool) -> None:
    """API Gateway treats each answer as binary data, since the API has media of all types, and encodes it."""
    said, token = SAID[name]
    body = base64.b64encode(said.encode()).decode() if encoded else said
    answer = json.loads(render(template("wait_response"), PARAMETERS, NOW, body))
    assert answer["next_batch"] == token
    assert answer["device_one_time_keys_count"] == {"a": 1}


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500, 503])
def test_one_response_takes_whatever_the_queue_answers(status: int) -> None:
    """A REST API keeps one response for each status code. A second for 200 would replace the first."""
    document = operation("", "", {"Access-Control-Allow-Origin": "*"})["x-amazon-apigateway-integration"]
    responses = integration_responses(document)
    assert len(responses) == len(document["responses"])
    chosen = chosen_response(responses, status)
    assert chosen is not None
    assert (chosen.status, chosen.template) == ("200", template("wait_response"))
    assert chosen.headers == {"Access-Control-Allow-Origin": "*"}


def test_of_two_responses_with_one_status_code_an_import_keeps_the_last() -> None:
    """The local gateway reads them in the same way: the first one is ignored."""

    def response(status: str, said: str) -> dict[str, Any]:
        return {"statusCode": status, "responseTemplates": {"application/json": said}}

    document = {
        "responses": {
            "200": response("200", "a"),
            "5..": response("502", "b"),
            "default": response("200", "c"),
        }
    }
    responses = integration_responses(document)
    chosen = {status: chosen_response(responses, status) for status in (200, 404, 503)}
    assert {status: found and found.template for status, found in chosen.items()} == {
        200: "c", 404: "c", 503: "b",
    }  # fmt: skip
    assert chosen_response(integration_responses({"responses": {"2..": response("200", "a")}}), 400) is None


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("form", ["{}", "<ReceiveMessageResponse>ReceiptHandle {}</ReceiveMessageResponse>"])
def test_a_ring_for_changed_keys_tells_of_them(form: str, encoded: bool) -> None:
    keys: KeyCountsSection = {
        "device_one_time_keys_count": {"a": 49},
        "device_unused_fallback_key_types": ["a"],
    }
    body = form.format(RING.replace("nonce", f"nonce~{encode_keys(keys)}~"))
    body = base64.b64encode(body.encode()).decode() if encoded else body
    answer = json.loads(render(template("wait_response"), PARAMETERS, NOW, body))
    assert answer == {"next_batch": "c_row", **keys}


def test_a_request_for_the_queue_holds_nothing_that_a_client_adds() -> None:
    sent = render(template("wait_request"), PARAMETERS | {"wait": "20&VisibilityTimeout=900"}, NOW, "")
    assert parse_qs(sent)["VisibilityTimeout"] == ["0"]
    assert parse_qs(sent)["WaitTimeSeconds"] == ["20&VisibilityTimeout=900"]


class User:
    """A client of a local cloud."""

    def __init__(self, url: str, name: str) -> None:
        self.url = f"{url}/_matrix/client/v3"
        body: Any = {"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}}
        registered = requests.post(f"{self.url}/register", json=body, timeout=90).json()
        self.user_id = registered["user_id"]
        self.headers = {"Authorization": f"Bearer {registered['access_token']}"}

    def sync(self, since: str | None = None, timeout: int = 30_000, **query: Any) -> Any:
        query = {"since": since, "timeout": timeout} | query
        found = requests.get(f"{self.url}/sync", params=query, headers=self.headers, timeout=90)
        assert found.status_code == 200, found.text
        return found.json()

    def post(self, path: str, body: Any) -> Any:
        found = requests.post(f"{self.url}/{path}", json=body, headers=self.headers, timeout=90)
        assert found.status_code == 200, found.text
        return found.json()

    def send(self, room_id: str, body: str) -> None:
        path = f"{self.url}/rooms/{room_id}/send/m.room.message/{body}"
        found = requests.put(path, json={"msgtype": "m.text", "body": body}, headers=self.headers, timeout=90)
        assert found.status_code == 200, found.text


def test_a_parked_client_is_called(tmp_path: Path) -> None:
    with local_cloud(tmp_path, environment={"MURMURATION_PASSWORD_COST": "4"}, waits="rest") as cloud:
        alice, bob = User(cloud.url, "alice"), User(cloud.url, "bob")
        room_id = alice.post("createRoom", {"preset": "public_chat"})["room_id"]
        bob.post(f"join/{room_id}", {})
        first = bob.sync()["next_batch"]
        mark = bob.sync(first)
        assert mark["next_batch"].startswith("p_")
        assert set(mark) == {"next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types"}
        kept = bob.sync(mark["next_batch"], timeout=1_000)
        assert set(kept) == set(mark)
        assert kept["next_batch"].rpartition(".")[0] == mark["next_batch"].rpartition(".")[0]
        assert kept["next_batch"] != mark["next_batch"]
        with ThreadPoolExecutor() as pool:
            tabs = [pool.submit(bob.sync, kept["next_batch"]) for _ in range(3)]
            alice.send(room_id, "hello")
            calls = [tab.result(PATIENCE_S)["next_batch"] for tab in tabs]
        assert calls == [called(kept["next_batch"])] * 3
        late = bob.sync(kept["next_batch"])["next_batch"]
        assert late == calls[0]
        answer = bob.sync(late)
        news = answer["rooms"]["join"][room_id]["timeline"]["events"]
        assert [event["content"]["body"] for event in news] == ["hello"]
        assert answer["next_batch"].startswith("p_"), "it may wait again at once"
        gone = mark["next_batch"].split(".")
        gone[2] = "0" * 32
        made_up = bob.sync(".".join(gone))["next_batch"]
        assert made_up == called(".".join(gone))
        found = bob.sync(made_up)
        assert found["rooms"]["join"][room_id]
        assert found["next_batch"].startswith("s_"), "it shows no place of its own"


def test_a_parked_client_is_told_how_many_keys_it_has(tmp_path: Path) -> None:
    with local_cloud(tmp_path, environment={"MURMURATION_PASSWORD_COST": "4"}, waits="rest") as cloud:
        alice, bob = User(cloud.url, "alice"), User(cloud.url, "bob")
        device_id = requests.get(f"{bob.url}/account/whoami", headers=bob.headers, timeout=90).json()[
            "device_id"
        ]

        def while_parked(change: Callable[[], Any]) -> Any:
            mark = bob.sync(bob.sync()["next_batch"])["next_batch"]
            assert mark.startswith("p_")
            with ThreadPoolExecutor() as pool:
                waiting = pool.submit(bob.sync, mark)
                change()
                return waiting.result(PATIENCE_S)

        keys = {f"signed_curve25519:k{number}": {"key": "x", "signatures": {}} for number in range(3)}
        uploaded = while_parked(lambda: bob.post("keys/upload", {"one_time_keys": keys}))
        assert uploaded["device_one_time_keys_count"] == {"signed_curve25519": 3}
        wanted = {"one_time_keys": {bob.user_id: {device_id: "signed_curve25519"}}}
        claimed = while_parked(lambda: alice.post("keys/claim", wanted))
        assert claimed["device_one_time_keys_count"] == {"signed_curve25519": 2}
        assert claimed["next_batch"].startswith("c_")
        assert bob.sync(claimed["next_batch"])["device_one_time_keys_count"] == {"signed_curve25519": 2}


@pytest.mark.parametrize("path", INTERNAL)
def test_the_queues_path_is_for_nobody_outside(path: str) -> None:
    assert is_internal(path)


@pytest.mark.parametrize("path", NOT_INTERNAL)
def test_other_paths_are_not_the_queues(path: str) -> None:
    assert not is_internal(path)

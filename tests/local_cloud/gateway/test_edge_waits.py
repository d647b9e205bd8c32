"""Waiting at the edge: SQS's answers to unsigned requests, and their conversion."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from infra_cdk.parts.edge import VIEWER_RESPONSE
from infra_shared import edge_waits, parking
from local_cloud.aws.sqs import Sqs
from local_cloud.gateway.edge_waits import EdgeParking, answer_of, answer_unsigned
from local_cloud.gateway.parking import Place, place_of, render
from local_cloud.lambdas import Lambdas
from local_cloud.names import PREFIX, queue_url
from local_cloud.testing import LocalCloud, local_cloud
from murmuration.storage.live import wake_queues
from murmuration.sync.marks import PARKED_BY, called, fingerprint
from tests.infra.viewer.test_viewer import View, viewing
from tests.local_cloud.gateway.test_parking import CASES, KEYS, NOW, User, request
from tests.local_cloud.waiting import PATIENCE_S

NAME = f"{PREFIX}-wake-3-0123"
SECRET = {"user-agent": "secret", "referer": "secret"}


def policy(*, action: str = "sqs:ReceiveMessage", resource: str = NAME, key: str = "aws:UserAgent") -> str:
    condition = {"StringEquals": {key: "secret"}, "Bool": {"aws:SecureTransport": "true"}}
    statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Condition": condition}
    statement["Resource"] = f"arn:aws:sqs:*:000000000000:{resource}"
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


OPEN = {"SqsManagedSseEnabled": "false", "Policy": policy()}


def ask(sqs: Sqs, headers: dict[str, str], **query: str) -> tuple[int, int, str]:
    """Return the status of an unsigned request, the length header of its answer, and its body."""
    sent = urlencode(dict(edge_waits.query("0")) | query)
    status, found, body = answer_unsigned(sqs, NAME, sent, headers)
    assert found["content-type"] == "text/xml"
    return status, int(found["content-length"]), body.decode()


@pytest.mark.parametrize(
    ("attributes", "headers", "status"),
    [
        (OPEN, SECRET, 200),
        (OPEN, {"user-agent": "secret"}, 200),
        (OPEN | {"Policy": policy(key="aws:Referer")}, {"referer": "secret"}, 200),
        (OPEN, {"user-agent": "guessed"}, 403),
        (OPEN, {}, 403),
        (OPEN | {"Policy": policy(resource=f"{NAME}4")}, SECRET, 403),
        (OPEN | {"Policy": policy(action="sqs:SendMessage")}, SECRET, 403),
        ({"Policy": policy()}, SECRET, 403),  # encrypted, as queues are unless told otherwise
        ({"SqsManagedSseEnabled": "false"}, SECRET, 403),
        (None, SECRET, 400),
    ],
)
def test_who_may_receive_without_a_signature(
    attributes: dict[str, str] | None, headers: dict[str, str], status: int
) -> None:
    sqs = Sqs()
    if attributes is not None:
        sqs.create_queue({"QueueName": NAME, "Attributes": attributes})
    found = ask(sqs, headers)
    assert found[0] == status
    assert status == 200 or status in edge_waits.FAILOVER_STATUSES
    assert ("NonExistentQueue" in found[2]) is (status == 400)


def test_nothing_else_may_be_done_without_a_signature() -> None:
    sqs = Sqs()
    sqs.create_queue({"QueueName": NAME, "Attributes": OPEN})
    assert ask(sqs, SECRET, Action="PurgeQueue")[0] == 400


def test_an_answers_length_tells_of_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """This also holds if the answer is compressed on its way, since the padding is random."""
    sqs = Sqs()
    monkeypatch.setattr(wake_queues, "call", lambda _, __, message: sqs.send_message(message), raising=True)
    sqs.create_queue({"QueueName": NAME, "Attributes": OPEN})
    lengths: dict[str, tuple[int, int]] = {}

    def note(name: str) -> None:
        _, length, body = ask(sqs, SECRET)
        lengths[name] = (length, len(zlib.compress(body.encode(), 9)))
        sqs.purge_queue({"QueueUrl": queue_url(NAME)})

    note("nothing")
    wake_queues.ring(queue_url(NAME), "nonce")
    note("a ring")
    wake_queues.ring(queue_url(NAME), "nonce", KEYS.decode())
    note("a ring for keys")
    longest_handle = 1024
    for index in (0, 1):
        assert lengths["nothing"][index] < edge_waits.RING_BYTES / 2
        ring = lengths["a ring"][index]
        assert edge_waits.RING_BYTES <= ring <= edge_waits.KEYS_RING_BYTES - longest_handle
        assert lengths["a ring for keys"][index] >= edge_waits.KEYS_RING_BYTES
    assert (wake_queues.RING_BYTES, wake_queues.KEYS_RING_BYTES) == (
        edge_waits.RING_BYTES,
        edge_waits.KEYS_RING_BYTES,
    )


PLACE = {"wait": "20", "keep": "p_row.mark", "call": "c_row", "keys": KEYS.decode().rstrip("=")}
XML = {"content-type": "text/xml"}
ANSWERS: dict[str, tuple[dict[str, str], int, str | None]] = {
    "nothing": (XML | {"content-length": "252"}, 1, f"p_row.mark.{NOW}"),
    "a ring": (XML | {"content-length": "600"}, 1, "c_row"),
    "a long ring": (XML | {"content-length": "4095"}, 1, "c_row"),
    "a ring for keys": (XML | {"content-length": "4096"}, 50, "c_row"),
    "no length": (XML, 50, "c_row"),
    "no sensible length": (XML | {"content-length": "-1"}, 50, "c_row"),
    "SQS's JSON": (
        {"content-type": "application/x-amz-json-1.0", "content-length": "2"},
        1,
        f"p_row.mark.{NOW}",
    ),
    "no type": ({"content-length": "252"}, 1, f"p_row.mark.{NOW}"),
    "an API's answer": ({"content-type": "application/json", "content-length": "252"}, 0, None),
}
"""What an answer's headers are, how many keys the client is told to have, and which token it gets."""


@pytest.mark.parametrize("name", ANSWERS)
def test_what_becomes_of_an_answer(name: str) -> None:
    headers, count, token = ANSWERS[name]
    status, found, body = answer_of(200, headers, b"<x/>", PLACE, NOW)
    assert status == 200
    if token is None:
        assert body == b"<x/>"
        return
    answer = json.loads(body)
    assert answer["next_batch"] == token
    assert answer["device_one_time_keys_count"]["a"] == count
    assert dict(found)[b"content-type"] == b"application/json"
    assert dict(found)[b"access-control-allow-origin"] == b"*"


@pytest.fixture(scope="module")
def response_view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    with viewing(VIEWER_RESPONSE.read_text(), tmp_path_factory.mktemp("response")) as found:
        yield found


@pytest.mark.skipif(shutil.which("node") is None, reason="Node runs CloudFront's function")
@pytest.mark.parametrize("name", ANSWERS)
def test_cloudfronts_function_makes_the_same(response_view: View, name: str) -> None:
    headers, _, token = ANSWERS[name]
    answered = {
        "statusCode": 200,
        "headers": {key: {"value": value} for key, value in ({"via": "1", "x-more": "2"} | headers).items()},
    }
    along = {f"x-murmuration-{key}": value for key, value in PLACE.items()}
    found = response_view("/murmuration-prod-wake-3-0123", answered=answered, at=NOW, **along)
    if token is None:
        assert found == answered
        return
    status, ours, body = answer_of(200, headers, b"", PLACE, NOW)
    assert found["body"] == {"encoding": "text", "data": body.decode()}
    assert found["statusCode"] == status
    assert {key.encode(): entry["value"].encode() for key, entry in found["headers"].items()} == {
        **dict(ours), b"via": b"1", b"content-length": str(len(body)).encode()
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("node") is None, reason="Node runs CloudFront's function")
def test_it_knows_a_request_as_the_client_sent_it(response_view: View) -> None:
    """The documents don't say whether it gets the request from before the viewer function or after it."""
    asked = request(since=edge_mark(), timeout="30000")
    answered = {"statusCode": 200, "headers": {"content-length": {"value": "252"}}}
    uri = f"{asked.path}?{asked.query}"
    found = response_view(uri, answered=answered, at=NOW + 20_000)
    place = place_of(asked, NOW, at_edge=True)
    assert place is not None
    token = f"{place.parameters['keep']}.{NOW + 20_000}"
    assert json.loads(found["body"]["data"])["next_batch"] == token
    plain = response_view("/_matrix/client/v3/sync?since=s_1", answered=answered, at=NOW)
    assert plain == answered


def edge_mark() -> str:
    asked = ("Bearer token", *("" for _ in PARKED_BY))
    parts = ("p_AAAAAAAAAAAA", "p3", "ab" * 16, fingerprint(asked, at_edge=True), str(NOW // 1000 + 600))
    return ".".join((*parts, KEYS.decode().rstrip("="), str(NOW)))


def test_a_mark_is_good_for_one_way_of_waiting() -> None:
    assert place_of(request(since=edge_mark(), timeout="30000"), NOW, at_edge=True)
    assert place_of(request(since=edge_mark(), timeout="30000"), NOW) is None
    assert place_of(CASES["waits"][0], NOW, at_edge=True) is None


def test_the_rest_api_takes_what_the_viewer_function_put_into_headers() -> None:
    operation = parking.operation("", "", {}, at_edge=True)
    named = [(each["in"], each["name"]) for each in operation["parameters"]]
    assert named == [("path", "queue"), *(("header", f"x-murmuration-{name}") for name in parking.PARAMETERS)]
    integration = operation["x-amazon-apigateway-integration"]
    sent = {f"x-murmuration-{name}": value for name, value in PLACE.items()}
    form = render(integration["requestTemplates"]["application/json"], sent, NOW, "")
    assert form.endswith("WaitTimeSeconds=20")
    template = integration["responses"]["default"]["responseTemplates"]["application/json"]
    answer = json.loads(render(template, sent | {"x-murmuration-keys": KEYS.decode()}, NOW, "{}"))
    assert answer["next_batch"] == "c_row"
    assert answer["device_one_time_keys_count"] == {"a": 1}


@pytest.mark.parametrize("secret", ["secret", "guessed"])
@pytest.mark.parametrize("rings", [True, False])
def test_where_sqs_refuses_the_rest_api_answers_the_same(secret: str, rings: bool) -> None:
    """CloudFront tries the second origin, which polls the same queue with a signature."""
    sqs, threads = Sqs(), Lambdas(1)
    name = f"{PREFIX}-wake-3-{'ab' * 16}"
    attributes = OPEN | {"Policy": policy(resource=name)}
    sqs.create_queue({"QueueName": name, "Attributes": attributes})
    if rings:
        sqs.send_message({"QueueUrl": queue_url(name), "MessageBody": "n" * edge_waits.RING_BYTES})
    place = Place("ab" * 16, NOW, PLACE | {"wait": "0", "keys": KEYS.decode()})
    try:
        status, headers, body = EdgeParking(sqs, threads, lambda: secret)._answer(place, NOW)
    finally:
        threads.close()
    answer = json.loads(body)
    assert status == 200
    assert dict(headers)[b"access-control-allow-origin"] == b"*"
    assert answer["next_batch"].startswith("c_row" if rings else "p_row.mark.")
    assert answer["device_one_time_keys_count"] == {"a": 1}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    folder = tmp_path_factory.mktemp("edge")
    with local_cloud(folder, environment={"MURMURATION_PASSWORD_COST": "4"}, waits="edge") as found:
        yield found


def test_a_client_that_waits_at_the_edge_is_called(cloud: LocalCloud) -> None:
    alice, bob = User(cloud.url, "alice"), User(cloud.url, "bob")
    room_id = alice.post("createRoom", {"preset": "public_chat"})["room_id"]
    bob.post(f"join/{room_id}", {})
    mark = bob.sync(bob.sync()["next_batch"])
    assert mark["next_batch"].startswith("p_")
    kept = bob.sync(mark["next_batch"], timeout=1_000)
    assert set(kept) == set(mark)
    assert kept["next_batch"].rpartition(".")[0] == mark["next_batch"].rpartition(".")[0]
    assert kept["next_batch"] != mark["next_batch"]
    with ThreadPoolExecutor() as pool:
        tabs = [pool.submit(bob.sync, kept["next_batch"]) for _ in range(3)]
        alice.send(room_id, "hello")
        calls = [tab.result(PATIENCE_S)["next_batch"] for tab in tabs]
    assert calls == [called(kept["next_batch"])] * 3
    assert bob.sync(kept["next_batch"])["next_batch"] == calls[0], "the ring stays for who comes late"
    answer = bob.sync(calls[0])
    news = answer["rooms"]["join"][room_id]["timeline"]["events"]
    assert [event["content"]["body"] for event in news] == ["hello"]
    assert answer["next_batch"].startswith("p_"), "it may wait again at once"
    gone = mark["next_batch"].split(".")
    gone[2] = "0" * 32
    answered = requests.get(
        f"{bob.url}/sync",
        params={"since": ".".join(gone), "timeout": "30000"},
        headers=bob.headers,
        timeout=90,
    )
    assert answered.json()["next_batch"] == called(".".join(gone)), (
        "SQS has no such queue, the REST API is asked"
    )
    assert answered.headers["access-control-allow-origin"] == "*"


def test_a_client_hears_of_enough_keys_until_it_hears_how_many(cloud: LocalCloud) -> None:
    carol = User(cloud.url, "carol")
    mark: Any = carol.sync(carol.sync()["next_batch"])["next_batch"]
    keys = {f"signed_curve25519:k{number}": {"key": "x", "signatures": {}} for number in range(3)}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(carol.sync, mark)
        carol.post("keys/upload", {"one_time_keys": keys})
        told = waiting.result(PATIENCE_S)
    assert told["device_one_time_keys_count"] == {"signed_curve25519": 50}
    assert told["next_batch"].startswith("c_")
    assert carol.sync(told["next_batch"])["device_one_time_keys_count"] == {"signed_curve25519": 3}

"""Uploads that CloudFront stored: which become the content of their IDs, and what is left of others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from local_cloud.aws.s3_events import stored_message
from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb, objects, parameters, queues
from murmuration.aws.calls import Unreachable, Usage, counting
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.identity import budgets
from murmuration.media.incoming import settling
from murmuration.media.incoming.signed_ids import expiry_of, is_signed_for, upload_key
from murmuration.protocol.identifiers import UserId
from murmuration.settings import settings
from murmuration.storage import media as storage
from tests.budgets.meter import Meter
from tests.in_process import Answer, Client
from tests.logged_in import log_in
from tests.media.test_media import CREATE, DOWNLOADS, create, put
from tests.media.test_placing import begin

SECRET = "the viewer side's"
BODY = bytes(range(250)) * 4


@pytest.fixture(autouse=True)
def viewer(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield a deployment behind CloudFront."""
    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "/secret")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()
    yield
    settings.cache_clear()


def id_of(name: str) -> str:
    return name.partition("/")[2]


def arrive(name: str, body: bytes = BODY, content_type: str = "video/mp4", **more: str) -> str:
    """Do what CloudFront does with an upload, and return the media's ID."""
    key = settling.object_of(id_of(name))
    objects.client().put_object(
        Bucket=settings().media_bucket, Key=key, Body=body, ContentType=content_type, **more
    )
    return id_of(name)


def settle(media_id: str) -> None:
    with acting_for("workers.uploads"):
        settling.settle(media_id)


def sizes(prefix: str) -> dict[str, int]:
    """Return the sizes of the objects whose keys have this prefix."""
    listed = objects.client().list_objects_v2(Bucket=settings().media_bucket, Prefix=prefix)
    return {found["Key"]: found["Size"] for found in listed.get("Contents", ())}


def copies(media_id: str) -> dict[str, int]:
    return sizes(f"media/{media_id}/")


def left(media_id: str) -> int | None:
    """Return the size of the object that CloudFront stored; None if it is gone."""
    return sizes(settling.object_of(media_id)).get(settling.object_of(media_id))


def get(client: Client, name: str, timeout_ms: int = 0) -> Answer:
    return client.get(f"{DOWNLOADS[0]}/{name}", timeout_ms=timeout_ms)


def used(client: Client) -> int:
    return int((dynamodb.get("media", {"media_id": f"bytes#{client.user_id}"}) or {"used": 0})["used"])


def pending(client: Client) -> dict[str, int]:
    found: dict[str, int] = (dynamodb.get("media", {"media_id": f"pending#{client.user_id}"}) or {})[
        "pending"
    ]
    return found


# -- Creating ----------------------------------------------------------------------------------------------


def test_an_id_is_signed_for_the_token_that_created_it(alice: Client, bob: Client) -> None:
    answer = alice.post(CREATE).json
    name = id_of(answer["content_uri"].removeprefix("mxc://"))
    assert expiry_of(name) == answer["unused_expires_at"] // 1000
    key = upload_key(SECRET)
    assert is_signed_for(key, "example.org", name, str(alice.token))
    assert not is_signed_for(key, "example.org", name, str(bob.token))
    assert not is_signed_for(key, "example.com", name, str(alice.token))
    assert not is_signed_for(upload_key("another"), "example.org", name, str(alice.token))
    later = name[:24] + str(int(name[24:34]) + 1) + name[34:]
    assert not is_signed_for(key, "example.org", later, str(alice.token))
    assert not is_signed_for(key, "example.org", "aaaa", str(alice.token))


def test_without_such_uploads_ids_are_not_signed(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MURMURATION_MEDIA_PUT_MAX_BYTES", "0")
    settings.cache_clear()
    name = create(alice)
    assert expiry_of(id_of(name)) is None
    assert "device_id" not in (dynamodb.get("media", {"media_id": id_of(name)}) or {})
    assert "PUT" not in put(alice, name, bytes(10_000_001)).json["error"]


def test_who_has_no_room_left_creates_nothing(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MURMURATION_MEDIA_QUOTA_BYTES", "1000")
    settings.cache_clear()
    settle(arrive(create(alice)))
    answer = alice.post(CREATE)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


def test_a_refusal_for_the_size_names_the_other_way(alice: Client) -> None:
    error = put(alice, create(alice), bytes(10_000_001)).json
    assert error["errcode"] == "M_TOO_LARGE"
    assert "10,000,000 bytes" in error["error"]
    assert "100,000,000 bytes can be uploaded by PUT" in error["error"]


# -- Settling ----------------------------------------------------------------------------------------------


def test_an_upload_becomes_the_content_of_its_id(alice: Client, bob: Client) -> None:
    name = create(alice)
    disposition = "attachment; filename*=utf-8''a%20b%C3%B6.mp4"
    media_id = arrive(name, ContentDisposition=disposition)
    assert get(bob, name).json["errcode"] == "M_NOT_YET_UPLOADED"
    settle(media_id)
    found = get(bob, name)
    assert (found.status, found.body) == (200, BODY)
    assert found.headers["Content-Type"] == "video/mp4"
    assert found.headers["Content-Disposition"] == "inline; filename*=utf-8''a%20b%C3%B6.mp4"
    item = dynamodb.get("media", {"media_id": media_id}) or {}
    assert item["size"] == len(BODY)
    assert item.keys().isdisjoint(("pending_until_ms", "device_id"))
    assert pending(alice) == {}
    assert used(alice) == len(BODY)
    assert left(media_id) == 0, "it keeps a second upload away"


def test_a_type_that_is_no_type_is_none(alice: Client) -> None:
    name = create(alice)
    settle(arrive(name, content_type="nonsense"))
    assert get(alice, name).headers["Content-Type"] == "application/octet-stream"


def test_settling_twice_does_nothing_more(alice: Client) -> None:
    name = create(alice)
    media_id = arrive(name)
    for _ in range(3):
        settle(media_id)
    assert (used(alice), len(copies(media_id)), left(media_id)) == (len(BODY), 1, 0)
    assert get(alice, name).body == BODY


def test_two_may_settle_it_at_once(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    name = create(alice)
    media_id = arrive(name)
    copy = objects.copy

    def overtaken(*args: Any, **more: Any) -> bool:
        monkeypatch.setattr(objects, "copy", copy)
        settle(media_id)
        # The other one has put the empty object by now; this one had read what was there before it.
        arrive(name)
        return copy(*args, **more)

    monkeypatch.setattr(objects, "copy", overtaken)
    settle(media_id)
    assert (used(alice), len(copies(media_id)), left(media_id)) == (len(BODY), 1, 0)
    assert get(alice, name).body == BODY


@pytest.mark.parametrize(
    ("module", "step"), [(objects, "copy"), (storage, "settle"), (budgets, "charge"), (objects, "put")]
)
@pytest.mark.parametrize("after", [False, True])
def test_the_worker_may_stop_at_each_step(
    alice: Client, module: Any, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = create(alice)
    media_id = arrive(name)
    work = getattr(module, step)

    def stop(*args: Any, **more: Any) -> None:
        if after:
            work(*args, **more)
        raise Unreachable("it stopped")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, stop)
        with pytest.raises(Unreachable):
            settle(media_id)
    settle(media_id)
    assert (used(alice), len(copies(media_id)), left(media_id)) == (len(BODY), 1, 0)
    assert get(alice, name).body == BODY


def test_what_changed_since_it_was_looked_at_is_looked_at_again(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket copies an object only if it has the ETag that was checked."""
    name = create(alice)
    media_id = arrive(name)
    with monkeypatch.context() as patch:
        patch.setattr(objects, "copy", lambda *_, **_more: False)
        with pytest.raises(ConditionFailed):
            settle(media_id)
    assert (used(alice), copies(media_id), left(media_id)) == (0, {}, len(BODY))
    settle(media_id)
    assert get(alice, name).body == BODY


def test_a_second_upload_never_replaces_the_first(alice: Client) -> None:
    """This holds even if S3 didn't refuse the second upload."""
    name = create(alice)
    settle(arrive(name))
    settle(arrive(name, b"another"))
    assert get(alice, name).body == BODY
    assert (used(alice), left(id_of(name))) == (len(BODY), 0)


@pytest.mark.parametrize("upload", [put, begin])
def test_a_smaller_upload_after_it_is_refused(alice: Client, upload: Callable[..., Answer]) -> None:
    """This also holds before the first is settled, since its sender was told that it is stored."""
    name = create(alice)
    media_id = arrive(name)
    for _ in range(2):
        assert upload(alice, name).json["errcode"] == "M_CANNOT_OVERWRITE_MEDIA"
        settle(media_id)
    assert get(alice, name).body == BODY
    assert used(alice) == len(BODY)


@pytest.mark.parametrize("upload", [put, begin])
def test_after_a_smaller_upload_the_bucket_takes_no_large_one(
    alice: Client, upload: Callable[..., Answer]
) -> None:
    """CloudFront stores an upload only if there is no object with its key."""
    name = create(alice)
    assert left(id_of(name)) is None
    assert upload(alice, name).status == 200
    assert left(id_of(name)) == 0
    settle(id_of(name))
    assert left(id_of(name)) == 0


def test_a_small_upload_that_was_first_stays(alice: Client) -> None:
    name = create(alice)
    assert put(alice, name, b"small").status == 200
    media_id = arrive(name)
    settle(media_id)
    assert get(alice, name).body == b"small"
    assert (used(alice), left(media_id)) == (5, 0)


def test_a_small_upload_at_the_same_time_stays(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    name = create(alice)
    media_id = arrive(name)
    copy = objects.copy

    def overtaken(*args: Any, **more: Any) -> bool:
        with acting_for("client_server.media"), monkeypatch.context() as patch:
            patch.setattr(settling, "has_arrived", lambda _: False)  # it looked before
            assert put(alice, name, b"small").status == 200
        return copy(*args, **more)

    monkeypatch.setattr(objects, "copy", overtaken)
    settle(media_id)
    assert get(alice, name).body == b"small"
    assert (used(alice), len(copies(media_id)), left(media_id)) == (5, 1, 0)


def test_an_upload_that_has_begun_by_the_other_way_stays(alice: Client) -> None:
    name = create(alice)
    first = begin(alice, name)
    media_id = arrive(name)
    settle(media_id)
    assert left(media_id) is None
    objects.put(first.json["object"], b"middling", "application/octet-stream")
    assert get(alice, name).body == b"middling"


def test_a_large_upload_costs_its_storage(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    paid: list[tuple[str, float]] = []
    monkeypatch.setattr(budgets, "charge", lambda *charged: paid.append(charged))
    settle(arrive(create(alice)))
    by_kb = budgets.TO_ORIGIN_KB + budgets.OBJECT_KB
    assert paid == [(alice.user_id, 3 * budgets.OBJECT_PUT + len(BODY) / 1024 * by_kb)]


# -- Refusals ----------------------------------------------------------------------------------------------


def log_out(client: Client, _: pytest.MonkeyPatch) -> None:
    assert client.post("/_matrix/client/v3/logout").status == 200


def suspend(client: Client, _: pytest.MonkeyPatch) -> None:
    key = {"user_id": client.user_id, "sk": f"device#{client.device_id}"}
    dynamodb.execute(dynamodb.update("users", key, "SET suspended = :true", values={":true": True}))


def expire(_: Client, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "LATE_MS", -86_410_000)


def allow_less(_: Client, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MURMURATION_MEDIA_PUT_MAX_BYTES", str(len(BODY) - 1))
    settings.cache_clear()


def use_up_quota(_: Client, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MURMURATION_MEDIA_QUOTA_BYTES", str(len(BODY) - 1))
    settings.cache_clear()


def use_up_quota_meanwhile(client: Client, patch: pytest.MonkeyPatch) -> None:
    use_up_quota(client, patch)
    assert storage.take_bytes(UserId(client.user_id), 1, most=1)
    patch.setenv("MURMURATION_MEDIA_QUOTA_BYTES", str(len(BODY)))
    settings.cache_clear()
    nothing = replace(storage.used_bytes_read(UserId(client.user_id)), parse=lambda _: 0)
    patch.setattr(storage, "used_bytes_read", lambda _: nothing)


REASONS = {
    "logged out": log_out,
    "suspended": suspend,
    "expired": expire,
    "too large": allow_less,
    "over the quota": use_up_quota,
    "over the quota meanwhile": use_up_quota_meanwhile,
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_refused_is_deleted_with_its_id(
    bob: Client,
    fresh_user_id: Any,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    carol = log_in(fresh_user_id("carol"))
    name = create(carol)
    media_id = arrive(name)
    REASONS[reason](carol, monkeypatch)
    before = used(carol)
    with caplog.at_level(logging.WARNING):
        settle(media_id)
    assert "an upload was refused" in caplog.text
    assert media_id not in caplog.text, "the log is no place for what lets others upload"
    assert (copies(media_id), left(media_id), used(carol), pending(carol)) == ({}, None, before, {})
    assert get(bob, name).json["errcode"] == "M_NOT_FOUND"
    paid: list[tuple[str, float]] = []
    monkeypatch.setattr(budgets, "charge", lambda *charged: paid.append(charged))
    settle(arrive(name))
    assert (copies(media_id), left(media_id)) == ({}, None), "the ID stays refused"
    assert paid == [(carol.user_id, budgets.OBJECT_PUT + len(BODY) / 1024 * budgets.TO_ORIGIN_KB)]
    assert (dynamodb.get("media", {"media_id": media_id}) or {}).keys() == {"media_id", "user_id", "expires"}


def test_an_id_that_nobody_created_takes_nothing(alice: Client) -> None:
    media_id = arrive("example.org/" + "a" * 56)
    settle(media_id)
    assert left(media_id) is None
    assert dynamodb.get("media", {"media_id": media_id}) is None


def test_an_id_from_before_takes_nothing_by_this_way(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MURMURATION_MEDIA_PUT_MAX_BYTES", "0")
        settings.cache_clear()
        name = create(alice)
    settings.cache_clear()
    media_id = arrive(name)
    settle(media_id)
    assert (left(media_id), copies(media_id)) == (None, {})


def test_a_refusal_that_stops_halfway_is_finished(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    name = create(alice)
    media_id = arrive(name)
    use_up_quota(alice, monkeypatch)

    def stop(_: Any) -> None:
        raise Unreachable("it stopped")

    with monkeypatch.context() as patch:
        patch.setattr(objects, "delete", stop)
        with pytest.raises(Unreachable):
            settle(media_id)
    settle(media_id)
    assert (copies(media_id), left(media_id)) == ({}, None)


# -- Messages and waits ------------------------------------------------------------------------------------


def test_the_buckets_message_names_the_upload(alice: Client) -> None:
    from functions.workers.uploads.settle_uploads import handler

    name = create(alice)
    media_id = arrive(name)
    body = stored_message("bucket", settling.object_of(media_id), len(BODY), "etag")
    record = {"messageId": "1", "receiptHandle": "1", "body": body, "attributes": {}}
    with acting_for("workers.uploads"):
        assert handler({"Records": [record]}) == {"batchItemFailures": []}
    assert get(alice, name).body == BODY


def test_the_buckets_test_of_its_queue_is_ignored() -> None:
    settling.settle_all(json.loads('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}'))


def test_whoever_waits_for_it_has_it_settled(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = create(alice)
    rung: list[str] = []

    def ring(queue: str, _: int) -> None:
        rung.append(queue)
        settle(id_of(name))

    def sleep(_: float) -> None:
        with acting_for("workers.uploads"):
            if objects.size_of(settling.object_of(id_of(name))) is None:
                arrive(name)

    monkeypatch.setattr(queues, "ring", ring)
    monkeypatch.setattr(time, "sleep", sleep)
    found = get(bob, name, timeout_ms=10_000)
    assert (found.status, found.body, rung) == (200, BODY, [settling.QUEUE])


def test_nobody_rings_for_what_has_not_arrived(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(queues, "ring", lambda name, _: rung.append(name))
    answer = get(alice, create(alice), timeout_ms=600)
    assert (answer.status, answer.json["errcode"], rung) == (504, "M_NOT_YET_UPLOADED", [])


def test_an_upload_shortly_before_the_end_counts(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    name = create(alice)
    media_id = arrive(name)
    monkeypatch.setattr("murmuration.media.finding.now_ms", lambda: now_ms() + 2 * 86_400_000)
    settle(media_id)
    assert get(alice, name).body == BODY


def test_what_it_costs(alice: Client) -> None:
    """Creating costs the token, the quota, the list, the ID. Settling costs the ID, device and quota, the
    content.
    """
    create(alice)
    created, settled, usage = Meter(), Meter(), Usage()
    with created:
        name = create(alice)
    media_id = arrive(name)
    with settled, counting(usage):
        settle(media_id)
    assert created.spent.round_trips <= 4
    assert created.spent.write_units <= 4
    assert created.spent.read_units <= 2.5
    assert settled.spent.round_trips <= 3
    assert settled.spent.write_units <= 6
    assert settled.spent.read_units <= 3
    assert (usage.object_reads, usage.object_puts) == (1, 2), "a look; a copy and the empty object"

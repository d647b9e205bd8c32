"""Large uploads: what is taken before their bodies are stored, and how they are found afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.aws import dynamodb, objects, parameters
from murmuration.identity import budgets, rate_limits
from murmuration.media import finding, repository
from murmuration.settings import settings
from tests.in_process import Answer, Client
from tests.media.test_media import CREATE, DOWNLOADS, create, put

SECRET = "the viewer side's"
SIZE = 6_000_000
BODY = bytes(range(250)) * (SIZE // 250)


@pytest.fixture(autouse=True)
def viewer(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let requests with the viewer side's secret count as its requests."""
    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "/secret")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()
    yield
    settings.cache_clear()


def begin(
    client: Client, name: str = "", size: int | str = SIZE, secret: str = SECRET, **query: Any
) -> Answer:
    headers = {
        "Content-Type": "video/mp4",
        "x-murmuration-size": str(size),
        "x-murmuration-viewer-secret": secret,
    }
    method, path = ("PUT", f"/uploads/{name}") if name else ("POST", "/uploads")
    return client.request(method, path, headers=headers, **query)


def store(answer: Answer, data: bytes = BODY) -> None:
    """Store the body as the gateway does."""
    objects.put(answer.json["object"], data, "application/octet-stream")


def named(answer: Answer) -> str:
    return str(answer.json["answer"]["content_uri"]).removeprefix("mxc://")


def get(client: Client, name: str) -> Answer:
    return client.get(f"{DOWNLOADS[0]}/{name}", timeout_ms=0)


def used(client: Client) -> int:
    return int((dynamodb.get("media", {"media_id": f"bytes#{client.user_id}"}) or {"used": 0})["used"])


def test_a_file_can_be_read_once_its_body_is_stored(alice: Client, bob: Client) -> None:
    answer = begin(alice, filename="a.mp4")
    name = named(answer)
    assert answer.json["object"].startswith(f"media/{name.partition('/')[2]}/")
    assert get(bob, name).json["errcode"] == "M_NOT_YET_UPLOADED"
    store(answer)
    for _ in range(2):
        found = get(bob, name)
        assert (found.status, found.body) == (200, BODY)
        assert found.headers["Content-Type"] == "video/mp4"
        assert found.headers["Content-Disposition"] == 'inline; filename="a.mp4"'
    item = dynamodb.get("media", {"media_id": name.partition("/")[2]})
    assert item is not None
    assert item["size"] == SIZE
    assert item.keys().isdisjoint(("begun", "pending_until_ms"))


def test_a_file_is_found_however_late_its_body_comes(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, lost = begin(alice), begin(alice)
    store(stored)
    monkeypatch.setattr(finding, "now_ms", lambda: 10**14)
    assert get(alice, named(stored)).status == 200
    assert get(alice, named(lost)).json["errcode"] == "M_NOT_FOUND"


def test_many_may_find_it_at_once(alice: Client) -> None:
    answer = begin(alice)
    store(answer)
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda _: get(alice, named(answer)).status, range(5)))
    assert found == [200] * 5


def test_a_created_id_keeps_its_key_until_it_is_there(alice: Client, bob: Client) -> None:
    name = create(alice)
    first, again = begin(alice, name), begin(alice, name)
    assert (first.json["answer"], first.json["object"]) == ({}, again.json["object"])
    assert used(alice) == SIZE, "counted once"
    assert begin(bob, name).json["errcode"] == "M_FORBIDDEN"
    assert put(alice, name).json["errcode"] == "M_CANNOT_OVERWRITE_MEDIA"
    store(first)
    assert begin(alice, name).json["errcode"] == "M_CANNOT_OVERWRITE_MEDIA"
    assert get(bob, name).body == BODY


def test_what_was_uploaded_is_not_begun_again(alice: Client) -> None:
    name = create(alice)
    put(alice, name)
    assert begin(alice, name).json["errcode"] == "M_CANNOT_OVERWRITE_MEDIA"


def test_what_is_begun_is_pending_no_more(alice: Client) -> None:
    """Otherwise a user could begin only ten large uploads a day."""
    for _ in range(repository.PENDING_LIMIT + 1):
        name = create(alice)
        assert begin(alice, name).status == 200
    assert alice.post(CREATE).status == 200


# -- Refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "secret", "errcode"),
    [
        (10_000_001, SECRET, "M_TOO_LARGE"),
        ("", SECRET, "M_MISSING_PARAM"),
        ("-1", SECRET, "M_MISSING_PARAM"),
        (SIZE, "guessed", "M_MISSING_PARAM"),
    ],
)
def test_what_is_refused_has_no_key(alice: Client, size: int | str, secret: str, errcode: str) -> None:
    answer = begin(alice, size=size, secret=secret)
    assert answer.json["errcode"] == errcode
    assert "object" not in answer.json
    assert used(alice) == 0


def test_a_quota_is_taken_before(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MURMURATION_MEDIA_QUOTA_BYTES", str(2 * SIZE - 1))
    settings.cache_clear()
    assert [begin(alice).status for _ in range(2)] == [200, 403]
    assert used(alice) == SIZE


def test_a_budget_is_taken_before(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    paid: list[float] = []
    monkeypatch.setattr(budgets, "expect", paid.append)
    begin(alice)
    assert paid == [budgets.OBJECT_PUT + SIZE / 1024 * budgets.OBJECT_KB]


def test_rates_are_limited(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: 1_700_000_000_000)
    statuses = [begin(alice).status for _ in range(rate_limits.LIMITS["media_upload"].burst + 1)]
    assert statuses[-1] == 429
    assert set(statuses[:-1]) == {200}

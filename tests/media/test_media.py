"""Media: what was uploaded comes back as it was, and an ID's content never changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from murmuration import clock
from murmuration.aws import dynamodb, objects
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity import rate_limits
from murmuration.media import finding, repository
from murmuration.settings import parse_moment_ms, settings
from murmuration.storage import media as storage
from tests.faults import Way, fault
from tests.in_process import Client, segment
from tests.logged_in import log_in

UPLOAD = "/_matrix/media/v3/upload"
CREATE = "/_matrix/media/v1/create"
DOWNLOADS = ["/_matrix/client/v1/media/download", "/_matrix/media/v3/download", "/_matrix/media/r0/download"]
EVERYTHING = bytes(range(256)) * 3


def upload(client, data=EVERYTHING, content_type="image/png", **query):
    answer = client.post(UPLOAD, data, headers={"Content-Type": content_type}, **query)
    assert answer.status == 200, answer.json
    return answer.json["content_uri"].removeprefix("mxc://")


def objects_of(media_id):
    listed = objects.client().list_objects_v2(Bucket=settings().media_bucket, Prefix=f"media/{media_id}/")
    return listed.get("KeyCount", 0)


@pytest.mark.parametrize("download", DOWNLOADS)
def test_what_is_uploaded_comes_back(alice, bob, download, open_media):
    name = upload(alice, filename="a picture.png")
    server, media_id = name.split("/")
    assert server == "example.org"
    assert set(media_id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    answer = bob.get(f"{download}/{name}")
    assert (answer.status, answer.body) == (200, EVERYTHING)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == 'inline; filename="a picture.png"'
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("download", DOWNLOADS)
def test_a_download_can_name_the_file(alice, download, open_media):
    name = upload(alice, filename="a.png")
    answer = alice.get(f"{download}/{name}/{segment('ö.png')}")
    assert (answer.status, answer.body) == (200, EVERYTHING)
    assert answer.headers["Content-Disposition"] == "inline; filename*=utf-8''%C3%B6.png"


def test_without_a_name_there_is_none(alice):
    answer = alice.get(f"{DOWNLOADS[0]}/{upload(alice)}")
    assert answer.headers["Content-Disposition"] == "inline"


def test_html_is_an_attachment(alice):
    answer = alice.get(f"{DOWNLOADS[0]}/{upload(alice, b'<script>', 'text/html')}")
    assert (answer.headers["Content-Type"], answer.headers["Content-Disposition"]) == (
        "text/html",
        "attachment",
    )


def test_an_empty_file_is_a_file(alice):
    answer = alice.get(f"{DOWNLOADS[0]}/{upload(alice, b'')}")
    assert (answer.status, answer.body) == (200, b"")


def test_each_upload_has_an_id_of_its_own(alice):
    assert upload(alice) != upload(alice)


def test_the_old_paths_need_no_token_and_the_new_one_does(alice, open_media):
    name = upload(alice)
    alice.token = None
    assert alice.get(f"{DOWNLOADS[1]}/{name}").status == 200
    answer = alice.get(f"{DOWNLOADS[0]}/{name}")
    assert (answer.status, answer.json["errcode"]) == (401, "M_MISSING_TOKEN")
    for path in (UPLOAD, CREATE):
        assert alice.post(path, b"").status == 401


OLD_WAYS = ["download/{}", "download/{}/name.png", "thumbnail/{}?width=32&height=32"]


@pytest.mark.parametrize("way", OLD_WAYS)
@pytest.mark.parametrize("version", ["r0", "v1", "v3"])
def test_media_are_not_given_out_without_a_token(alice, way, version):
    name = upload(alice)
    answer = Client().get(f"/_matrix/media/{version}/{way.format(name)}")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert alice.get(f"{DOWNLOADS[0]}/{name}").status == 200


def test_what_was_uploaded_before_the_freeze_stays_readable(alice, monkeypatch):
    before, after = upload(alice), upload(alice)
    for name, moment in ((before, "2026-01-31T11:59:59Z"), (after, "2026-01-31T12:00:00Z")):
        key = {"media_id": name.split("/")[1]}
        change = {":at": parse_moment_ms(moment)}
        dynamodb.execute(dynamodb.update("media", key, "SET uploaded_ms = :at", values=change))
    monkeypatch.setenv("MURMURATION_UNAUTHENTICATED_MEDIA_BEFORE", "2026-01-31T13:00:00+01:00")
    settings.cache_clear()
    assert [Client().get(f"{DOWNLOADS[1]}/{name}").status for name in (before, after)] == [200, 404]
    monkeypatch.undo()
    settings.cache_clear()


# -- Quota -----------------------------------------------------------------------------------------------


@pytest.fixture
def quota(monkeypatch):
    """Limit each user's uploads to 100 bytes."""
    monkeypatch.setenv("MURMURATION_MEDIA_QUOTA_BYTES", "100")
    settings.cache_clear()
    yield 100
    monkeypatch.undo()
    settings.cache_clear()


def test_a_user_may_upload_so_many_bytes(alice, bob, quota):
    upload(alice, b"x" * 60)
    name = create(alice)
    for answer in (alice.post(UPLOAD, b"x" * 41), put(alice, name, b"x" * 41)):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
        assert "100 bytes" in answer.json["error"]
    assert put(alice, name, b"x" * 40).status == 200
    assert alice.post(UPLOAD, b"x").status == 403
    assert alice.post(UPLOAD, b"").status == 200
    upload(bob, b"x" * 100)
    assert bob.post(UPLOAD, b"x" * 101).status == 403


def test_uploads_at_once_make_no_more_than_the_quota(alice, quota):
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: alice.post(UPLOAD, b"x" * 40), range(5)))
    assert sorted(answer.status for answer in answers) == [200, 200, 403, 403, 403]


def test_what_was_not_stored_does_not_count(alice, quota, monkeypatch):
    name = create(alice)
    put(alice, name, b"x" * 60)
    assert put(alice, name, b"x" * 40).status == 409
    with monkeypatch.context() as patch:
        patch.setattr(objects, "put", lambda *_: 1 / 0)
        assert alice.post(UPLOAD, b"x" * 40).status == 500
    with monkeypatch.context() as patch:
        patch.setattr(storage, "complete", complete_too_late)
        assert put(alice, create(alice), b"x" * 40).status == 409
    upload(alice, b"x" * 40)


def complete_too_late(media, content):
    raise ConditionFailed


def test_a_quota_of_zero_is_none(alice, monkeypatch):
    monkeypatch.setenv("MURMURATION_MEDIA_QUOTA_BYTES", "0")
    settings.cache_clear()
    upload(alice)
    assert dynamodb.get("media", {"media_id": f"bytes#{alice.user_id}"}) is None
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.parametrize("path", ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config"])
def test_the_limit_is_told(alice, path):
    assert alice.get(path).json == {"m.upload.size": 10_000_000}


def test_uploads_beyond_the_limit_are_refused(alice, monkeypatch):
    few = replace(settings(), media_max_bytes=100)
    monkeypatch.setattr(repository, "settings", lambda: few)
    assert alice.post(UPLOAD, b"x" * 100).status == 200
    answer = alice.post(UPLOAD, b"x" * 101)
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")
    assert "100 bytes" in answer.json["error"]


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    yield rate_limits.LIMITS["media_upload"].burst
    monkeypatch.undo()
    settings.cache_clear()


def test_only_so_many_uploads_go_at_once(alice, bob, limited, monkeypatch):
    monkeypatch.setattr(rate_limits, "now_ms", lambda: 1_700_000_000_000)
    for _ in range(limited):
        upload(alice)
    server_name, _, media_id = alice.post(CREATE).json["content_uri"].removeprefix("mxc://").partition("/")
    later = f"{UPLOAD}/{server_name}/{media_id}"
    for answer in (alice.post(UPLOAD, b"x"), alice.put(later, b"x")):
        assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
        assert answer.headers["Retry-After"] == "2"
    upload(bob)


def test_names_beyond_reason_are_refused(alice):
    answer = alice.post(UPLOAD, b"x", filename="x" * 2000)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


def test_guests_upload_nothing(bucket, fresh_user_id):
    guest = log_in(fresh_user_id("guest"))
    dynamodb.execute(
        dynamodb.update(
            "users",
            {"user_id": guest.user_id, "sk": "device#DEVICE"},
            "SET guest = :true",
            values={":true": True},
        )
    )
    for path in (UPLOAD, CREATE):
        answer = guest.post(path, b"x")
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "name",
    [
        "example.org/none",
        f"example.org/{segment('../../etc/passwd')}",
        f"example.org/{segment('pending#@a:b')}",
        f"{segment('exam ple')}/abc",
        f"example.org/{'x' * 3000}",
    ],
)
@pytest.mark.parametrize("download", DOWNLOADS[:2])
def test_what_does_not_exist_is_not_found(alice, name, download):
    for answer in (alice.get(f"{download}/{name}"), alice.get(f"{download}/{name}/file.txt")):
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


def test_media_lost_by_the_bucket_are_not_found(alice):
    name = upload(alice)
    media = storage.read(name.split("/")[1])
    assert media is not None
    assert media.content is not None
    objects.delete([media.content.object])
    assert alice.get(f"{DOWNLOADS[0]}/{name}").json["errcode"] == "M_NOT_FOUND"


def test_the_time_to_wait_must_be_a_number(alice):
    answer = alice.get(f"{DOWNLOADS[0]}/{upload(alice)}", timeout_ms="soon")
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


# -- Uploading to a URI created before ---------------------------------------------------------------------


def create(client):
    answer = client.post(CREATE)
    assert answer.status == 200, answer.json
    return answer.json["content_uri"].removeprefix("mxc://")


def put(client, name, data=EVERYTHING, **query):
    return client.put(f"{UPLOAD}/{name}", data, headers={"Content-Type": "image/gif"}, **query)


def test_a_created_uri_takes_content_once(alice):
    before = clock.now_ms()
    answer = alice.post(CREATE)
    assert 86_300_000 < answer.json["unused_expires_at"] - before < 86_500_000
    name = answer.json["content_uri"].removeprefix("mxc://")
    assert put(alice, name, filename="a.gif").json == {}
    found = alice.get(f"{DOWNLOADS[0]}/{name}")
    assert (found.body, found.headers["Content-Type"]) == (EVERYTHING, "image/gif")
    assert found.headers["Content-Disposition"] == 'inline; filename="a.gif"'
    answer = put(alice, name, b"other")
    assert (answer.status, answer.json["errcode"]) == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert alice.get(f"{DOWNLOADS[0]}/{name}").body == EVERYTHING


def test_media_uploaded_at_once_cannot_be_overwritten(alice):
    answer = put(alice, upload(alice))
    assert (answer.status, answer.json["errcode"]) == (409, "M_CANNOT_OVERWRITE_MEDIA")


def test_of_four_uploads_to_one_uri_one_counts(alice):
    name = create(alice)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: put(alice, name, f"content {n}".encode()), range(4)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    winner = [answer.status for answer in answers].index(200)
    assert alice.get(f"{DOWNLOADS[0]}/{name}").body == f"content {winner}".encode()
    assert objects_of(name.split("/")[1]) == 1, "the others' content is cleaned up"


@pytest.mark.parametrize("way", Way)
def test_an_interrupted_upload_leaves_the_content_or_the_uri(alice, way):
    name = create(alice)
    with fault(2, way):  # the first write takes the bytes from the quota
        first = put(alice, name)
    assert first.status == (200 if way is Way.TWICE else 500)
    again = put(alice, name)
    assert again.status == (200 if way is Way.BEFORE else 409)
    assert alice.get(f"{DOWNLOADS[0]}/{name}").body == EVERYTHING
    stored = storage.read(name.split("/")[1])
    assert stored is not None
    assert stored.pending_until_ms is None


def test_an_upload_whose_answer_from_the_database_is_lost_succeeds(alice):
    with fault(1, Way.TWICE):
        name = upload(alice)
    assert alice.get(f"{DOWNLOADS[0]}/{name}").body == EVERYTHING


@pytest.fixture
def no_waiting(monkeypatch):
    """Fail the test if a function waits."""

    def wait(seconds):
        raise AssertionError("a function waits")

    monkeypatch.setattr("murmuration.media.finding.time.sleep", wait)


def test_content_that_is_not_there_yet(alice):
    name = create(alice)
    for download in DOWNLOADS:
        answer = alice.get(f"{download}/{name}", timeout_ms=0)
        assert (answer.status, answer.json["errcode"]) == (504, "M_NOT_YET_UPLOADED")


@pytest.mark.parametrize("way", OLD_WAYS)
@pytest.mark.parametrize("timeout", [None, 60_000])
def test_nobody_waits_without_a_token(alice, way, timeout, no_waiting):
    answer = Client().get(f"/_matrix/media/v3/{way.format(create(alice))}", timeout_ms=timeout)
    assert (answer.status, answer.json["errcode"]) == (504, "M_NOT_YET_UPLOADED")


def test_a_download_waits_for_the_upload(alice, monkeypatch):
    name = create(alice)
    monkeypatch.setattr("murmuration.media.finding.time.sleep", lambda _: put(alice, name))
    answer = alice.get(f"{DOWNLOADS[0]}/{name}")
    assert (answer.status, answer.body) == (200, EVERYTHING)


def test_a_user_waits_for_few_media_at_once(alice, bob, limited, no_waiting, monkeypatch):
    monkeypatch.setattr(rate_limits, "now_ms", lambda: 1_700_000_000_000)
    name = create(alice)
    for _ in range(rate_limits.LIMITS["media_wait"].burst):
        assert alice.get(f"{DOWNLOADS[0]}/{name}").status == 500, "it would have waited"
    answer = alice.get(f"{DOWNLOADS[0]}/{name}")
    assert (answer.status, answer.json["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    assert bob.get(f"{DOWNLOADS[0]}/{name}").status == 500


def test_other_users_cannot_upload_to_it(alice, bob):
    answer = put(bob, create(alice))
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


def test_uploads_to_what_was_never_created_are_not_found(alice):
    for name in ("example.org/none", "remote.example.com/abc"):
        answer = put(alice, name)
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


def test_a_created_uri_ends_unless_it_is_used(alice, monkeypatch):
    name, used = create(alice), create(alice)
    put(alice, used)
    later = clock.now_ms() + repository.PENDING_MS + 1
    monkeypatch.setattr(repository, "now_ms", lambda: later)
    monkeypatch.setattr(finding, "now_ms", lambda: later)
    for answer in (put(alice, name), alice.get(f"{DOWNLOADS[0]}/{name}")):
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert alice.get(f"{DOWNLOADS[0]}/{used}").status == 200


def test_only_so_many_uploads_may_be_pending(alice, monkeypatch):
    names = [create(alice) for _ in range(repository.PENDING_LIMIT)]
    answer = alice.post(CREATE)
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert 86_000_000 < answer.json["retry_after_ms"] <= repository.PENDING_MS
    put(alice, names[0])
    create(alice)
    assert alice.post(CREATE).status == 429
    later = clock.now_ms() + repository.PENDING_MS + 1
    monkeypatch.setattr(repository, "now_ms", lambda: later)
    monkeypatch.setattr(finding, "now_ms", lambda: later)
    assert alice.post(CREATE).status == 200


def test_the_limit_holds_for_creations_at_once(alice):
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: alice.post(CREATE).status, range(repository.PENDING_LIMIT + 6)))
    assert sorted(statuses) == [200] * repository.PENDING_LIMIT + [429] * 6


def test_ids_cannot_be_guessed():
    assert len({repository.new_media_id() for _ in range(1000)}) == 1000
    assert len(repository.new_media_id()) == 24

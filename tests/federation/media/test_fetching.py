"""Other servers' media are fetched once, by the new or the old endpoint, and kept while used."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from murmuration import clock
from murmuration.aws import dynamodb, objects
from murmuration.federation.requests import health
from murmuration.identity import patience, rate_limits
from murmuration.identity.rate_limits import LIMITS, Limit
from murmuration.media import remote
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings
from murmuration.storage.media import Content
from tests.federation.media.conftest import Library, two_parts
from tests.federation.network import Network, Received, Reply
from tests.in_process import Client
from tests.local_cloud.waiting import PATIENCE_S

DOWNLOAD = "/_matrix/client/v1/media/download"
PNG = {"Content-Type": "image/png", "Content-Disposition": 'inline; filename="a.png"'}
DATA = bytes(range(256)) * 5


def picture(width: int = 64, height: int = 64) -> bytes:
    output = BytesIO()
    Image.new("RGB", (width, height), "green").save(output, "PNG")
    return output.getvalue()


def get(client: Client, library: Library, media_id: str = "abc", **query: Any) -> Any:
    return client.get(f"{DOWNLOAD}/{library.name}/{media_id}", **query)


def kept(library: Library, media_id: str = "abc") -> dict[str, Any]:
    found = dynamodb.get("media", {"media_id": f"remote#{library.name}#{media_id}"})
    assert found is not None
    return found


def test_a_file_is_fetched_once_for_all_users(alice: Client, bob: Client, library: Library) -> None:
    library.new = lambda _: two_parts(PNG, DATA)
    for client in (alice, bob, alice):
        answer = get(client, library)
        assert (answer.status, answer.body) == (200, DATA)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == 'inline; filename="a.png"'
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    (asked,) = library.asked
    assert asked.target == "/_matrix/federation/v1/media/download/abc?timeout_ms=10000"
    assert asked.headers["authorization"].startswith("X-Matrix ")


@pytest.mark.parametrize("pieces", [b"", b"\r\n--b0undary", b"--b0undary--\r\n" * 3, b"\r\n" * 40_000])
def test_any_bytes_come_through(alice: Client, library: Library, pieces: bytes) -> None:
    library.new = lambda _: two_parts(PNG, DATA + pieces, "another")
    assert get(alice, library).body == DATA + pieces


def test_strangers_types_and_names_do_no_harm(alice: Client, library: Library) -> None:
    headers = {"Content-Type": "text/html", "Content-Disposition": 'inline; filename="x\\"y.html"'}
    library.new = lambda _: two_parts(headers, b"<script>")
    answer = get(alice, library)
    assert answer.headers["Content-Disposition"] == "attachment; filename*=utf-8''x%22y.html"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


# -- Where the file is elsewhere ---------------------------------------------------------------------------


def elsewhere(network: Network, handler: Any, name: str) -> str:
    network.at(name, 443, network.serve(handler, name))
    return f"https://{name}/file?signed=yes"


def test_a_location_is_followed_without_credentials(
    alice: Client, library: Library, network: Network
) -> None:
    seen: list[Received] = []

    def serve(received: Received) -> Reply:
        seen.append(received)
        return Reply(DATA, headers=PNG)

    url = elsewhere(network, serve, f"cdn-{library.name}")
    library.new = lambda _: two_parts({"Location": url}, b"")
    answer = get(alice, library)
    assert (answer.body, answer.headers["Content-Type"]) == (DATA, "image/png")
    (asked,) = seen
    assert asked.target == "/file?signed=yes"
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    "location",
    [
        "https://10.0.0.1/x",
        "https://169.254.169.254/l",
        "file:///etc/passwd",
        "gopher://a/",
        "https://[::1",
        "",
    ],
)
def test_a_location_inside_is_not_asked(alice: Client, library: Library, location: str) -> None:
    library.new = lambda _: two_parts({"Location": location}, b"")
    answer = get(alice, library)
    assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")


def test_a_server_without_a_place_is_not_asked_for_its_front_page(alice: Client, library: Library) -> None:
    library.new = lambda _: two_parts({"Location": ""}, b"")
    asked = len(library.asked)
    assert get(alice, library).status == 502
    assert len(library.asked) == asked + 1


def test_a_redirect_of_a_location_is_checked_too(alice: Client, library: Library, network: Network) -> None:
    url = elsewhere(
        network, lambda _: Reply(b"", 302, {"Location": "https://10.1.2.3/x"}), f"cdn-{library.name}"
    )
    library.new = lambda _: two_parts({"Location": url}, b"")
    assert get(alice, library).status == 502


# -- Old servers -------------------------------------------------------------------------------------------


def test_old_servers_are_asked_by_the_old_path(alice: Client, library: Library) -> None:
    library.by_old_path = lambda _: Reply(DATA, headers=PNG)
    answer = get(alice, library)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, DATA, "image/png")
    asked = library.asked[1]
    assert asked.target == (
        f"/_matrix/media/v3/download/{library.name}/abc"
        "?allow_remote=false&allow_redirect=true&timeout_ms=10000"
    )
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    "unknown",
    [
        Reply({"errcode": "M_UNRECOGNIZED", "error": "?"}, 400),
        Reply({"errcode": "M_UNRECOGNIZED", "error": "?"}, 405),
        Reply(b"404 page not found", 404),
        Reply(b"", 404),
        Reply(b"<html>no</html>", 405),
    ],
)
def test_old_servers_say_in_many_ways_that_they_are_old(
    alice: Client, library: Library, unknown: Reply
) -> None:
    library.new = lambda _: unknown
    library.by_old_path = lambda _: Reply(DATA, headers=PNG)
    assert get(alice, library).body == DATA


def test_old_servers_may_redirect(alice: Client, library: Library, network: Network) -> None:
    url = elsewhere(network, lambda _: Reply(DATA, headers=PNG), f"cdn-{library.name}")
    library.by_old_path = lambda _: Reply(b"", 307, {"Location": url})
    assert get(alice, library).body == DATA


def test_a_server_that_has_no_such_file_is_not_asked_by_the_old_path(alice: Client, library: Library) -> None:
    library.new = lambda _: Reply({"errcode": "M_NOT_FOUND", "error": "No"}, 404)
    for _ in range(2):
        answer = get(alice, library)
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert len(library.asked) == 1, "a failure is remembered"


# -- Refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "errcode", "told"),
    [
        (504, "M_NOT_YET_UPLOADED", (504, "M_NOT_YET_UPLOADED")),
        (502, "M_TOO_LARGE", (502, "M_TOO_LARGE")),
        (429, "M_LIMIT_EXCEEDED", (429, "M_LIMIT_EXCEEDED")),
        (403, "M_FORBIDDEN", (404, "M_NOT_FOUND")),
        (500, "M_UNKNOWN", (502, "M_UNKNOWN")),
        (502, "", (502, "M_UNKNOWN")),
    ],
)
def test_what_the_other_server_refuses(
    alice: Client, library: Library, status: int, errcode: str, told: tuple[int, str]
) -> None:
    library.new = lambda _: Reply({"errcode": errcode, "error": "No"} if errcode else b"<html>", status)
    answer = get(alice, library)
    assert (answer.status, answer.json["errcode"]) == told


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"x", headers={"Content-Type": "image/png"}),
        Reply(b"x", headers={"Content-Type": "multipart/mixed"}),
        Reply(b"--b\r\n\r\n{}\r\n--b--", headers={"Content-Type": "multipart/mixed; boundary=b"}),
        Reply(
            b"--b\r\n\r\n{}\r\n--b\r\nContent-Type: a/b\r\n\r\ncut",
            headers={"Content-Type": "multipart/mixed; boundary=b"},
        ),
        Reply(
            b"--b\r\n" + b"a: b\r\n" * 9000 + b"\r\n", headers={"Content-Type": "multipart/mixed; boundary=b"}
        ),
    ],
)
def test_broken_answers_are_bad_gateways(alice: Client, library: Library, reply: Reply) -> None:
    library.new = lambda _: reply
    answer = get(alice, library)
    assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
    assert "object" not in kept(library)


def test_a_dead_server_is_a_bad_gateway(
    alice: Client, library: Library, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again soon after it is back: its health says when."""
    library.new = lambda _: two_parts(PNG, DATA)
    host = network.hosts.pop((library.name, 8448))
    assert get(alice, library).status == 502
    network.hosts[library.name, 8448] = host
    health.well(ServerName(library.name))
    assert get(alice, library).status == 502, "not at once"
    monkeypatch.setattr(remote, "now_ms", lambda: clock.now_ms() + 25_000)
    assert get(alice, library).body == DATA


@pytest.mark.parametrize("said", [True, False], ids=["by its header", "as it comes"])
def test_what_is_too_large_is_not_kept(
    alice: Client, library: Library, monkeypatch: pytest.MonkeyPatch, said: bool
) -> None:
    monkeypatch.setenv("MURMURATION_REMOTE_MEDIA_MAX_BYTES", "1000")
    settings.cache_clear()
    library.by_old_path = lambda _: Reply(
        b"x" * 1001, headers={} if said else {"Content-Length": "1001", "Content-Encoding": "identity"}
    )
    answer = get(alice, library)
    assert (answer.status, answer.json["errcode"]) == (502, "M_TOO_LARGE")
    listed = objects.client().list_objects_v2(
        Bucket=settings().media_bucket, Prefix=remote.folder(ServerName(library.name), "abc")
    )
    assert listed["KeyCount"] == 0


# -- One at a time -----------------------------------------------------------------------------------------


def test_many_who_ask_at_once_fetch_once(alice: Client, library: Library) -> None:
    asked, answered = threading.Event(), threading.Event()

    def slow(_: Received) -> Reply:
        asked.set()
        assert answered.wait(PATIENCE_S)
        return two_parts(PNG, DATA)

    library.new = slow
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(get, alice, library)
        assert asked.wait(PATIENCE_S)
        others = [pool.submit(get, alice, library) for _ in range(3)]
        answered.set()
        bodies = [each.result().body for each in (first, *others)]
    assert bodies == [DATA] * 4
    assert len(library.asked) == 1


def test_who_holds_too_many_functions_waits_no_longer(
    alice: Client, library: Library, limited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is refused before the other server answers."""
    asked, refused = threading.Event(), threading.Event()

    def slow(_: Received) -> Reply:
        monkeypatch.setattr(patience.Work, "quick_s", 0.0)
        asked.set()
        assert refused.wait(PATIENCE_S)
        return two_parts(PNG, DATA)

    library.new = slow
    now = clock.now_ms()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    monkeypatch.setattr(patience.Work, "quick_s", PATIENCE_S)
    for _ in range(LIMITS["long_work"].burst):
        rate_limits.check("long_work", alice.user_id)
    answer = get(alice, library)
    refused.set()
    assert asked.is_set()
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")


def test_a_fetch_that_was_stopped_is_begun_anew(
    alice: Client, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.storage import remote_media

    now = clock.now_ms()
    assert remote_media.claim(
        ServerName(library.name), "abc", "dead", now_ms=now, until_ms=now + remote.CLAIM_MS
    )
    monkeypatch.setattr(remote, "now_ms", lambda: now + remote.CLAIM_MS + 1)
    library.new = lambda _: two_parts(PNG, DATA)
    assert get(alice, library).body == DATA


def test_a_late_fetch_leaves_what_another_fetched(alice: Client, library: Library) -> None:
    from murmuration.storage import remote_media

    def overtaken(_: Received) -> Reply:
        later = clock.now_ms() + remote.CLAIM_MS + 1
        assert remote_media.claim(ServerName(library.name), "abc", "other", now_ms=later, until_ms=later + 1)
        content = Content("remote/x/other", "text/plain", None, 5, later)
        objects.put("remote/x/other", b"other", "text/plain")
        remote_media.finish(
            ServerName(library.name), "abc", "other", content, now_ms=later, expires_ms=later + 100_000
        )
        return two_parts(PNG, DATA)

    library.new = overtaken
    assert get(alice, library).body == b"other"
    assert kept(library)["object"] == "remote/x/other"


# -- How long it is kept -----------------------------------------------------------------------------------


def test_a_use_is_noted_once_a_day(alice: Client, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.new = lambda _: two_parts(PNG, DATA)
    get(alice, library)
    first = kept(library)
    renewed: list[str] = []
    renew = objects.renew

    def note(key: str, kind: str) -> bool:
        renewed.append(key)
        return renew(key, kind)

    monkeypatch.setattr(objects, "renew", note)
    get(alice, library)
    assert (kept(library), renewed) == (first, [])
    later = first["used_ms"] + clock.DAY_MS
    monkeypatch.setattr(remote, "now_ms", lambda: later)
    for _ in range(2):
        assert get(alice, library).body == DATA
    assert renewed == [first["object"]]
    assert kept(library)["used_ms"] == later
    assert kept(library)["expires"] == later // 1000 + 30 * 86_400
    found = objects.get(first["object"])
    assert found is not None
    assert found.content_type == "image/png"


@pytest.mark.parametrize("how", ["its item", "its object"])
def test_what_is_gone_is_fetched_anew(
    alice: Client, library: Library, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    library.new = lambda _: two_parts(PNG, DATA)
    get(alice, library)
    if how == "its item":
        later = clock.now_ms() + 31 * clock.DAY_MS
        monkeypatch.setattr(remote, "now_ms", lambda: later)
    else:
        objects.delete([kept(library)["object"]])
    assert get(alice, library).body == DATA
    assert len(library.asked) == 2


# -- Limits ------------------------------------------------------------------------------------------------


def test_a_user_fetches_so_many_files(
    alice: Client, bob: Client, library: Library, limited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "LIMITS", {**rate_limits.LIMITS, "media_fetch": Limit(0.001, 2)})
    library.new = lambda _: two_parts(PNG, DATA)
    assert [get(alice, library, f"m{number}").status for number in range(3)] == [200, 200, 429]
    assert get(alice, library, "m0").status == 200
    assert get(bob, library, "m3").status == 200


def test_a_server_fills_no_more_than_so_many_megabytes(
    alice: Client, library: Library, limited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        rate_limits, "LIMITS", {**rate_limits.LIMITS, "media_fetch_megabytes": Limit(0.001, 3)}
    )
    library.new = lambda _: two_parts(PNG, b"x" * 1_500_000)
    assert [get(alice, library, f"m{number}").status for number in range(3)] == [200, 429, 429]
    assert len(library.asked) == 2 or len(library.asked) == 3


def test_nothing_is_fetched_for_nobody(library: Library) -> None:
    library.new = lambda _: two_parts(PNG, DATA)
    answer = Client().get(f"/_matrix/media/v3/download/{library.name}/abc")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert not library.asked


def test_what_was_fetched_is_frozen_too(alice: Client, library: Library) -> None:
    library.new = lambda _: two_parts(PNG, DATA)
    get(alice, library)
    assert Client().get(f"/_matrix/media/v3/download/{library.name}/abc").status == 404


def test_a_denied_server_is_not_asked(
    alice: Client, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_FEDERATION_DENY", library.name)
    settings.cache_clear()
    assert get(alice, library).json["errcode"] == "M_FORBIDDEN"
    assert not library.asked


# -- Thumbnails --------------------------------------------------------------------------------------------


def test_thumbnails_are_made_here(alice: Client, bob: Client, library: Library) -> None:
    library.new = lambda _: two_parts(PNG, picture(900, 600))
    path = f"/_matrix/client/v1/media/thumbnail/{library.name}/abc"
    for client in (alice, bob):
        answer = client.get(f"{path}?method=crop&width=96&height=96")
        assert answer.status == 200
        with Image.open(BytesIO(answer.body)) as image:
            assert image.size == (96, 96)
    assert len(library.asked) == 1
    folder = remote.folder(ServerName(library.name), "abc")
    assert objects.get(f"{folder}/crop-96x96") is not None, "it ends with the image"


def test_a_small_image_is_its_thumbnail(alice: Client, library: Library) -> None:
    library.new = lambda _: two_parts(PNG, picture(20, 20))
    path = f"/_matrix/client/v1/media/thumbnail/{library.name}/abc"
    for _ in range(2):
        answer = alice.get(path, width=32, height=32)
        assert (answer.status, answer.body) == (200, picture(20, 20))
    objects.delete([kept(library)["object"]])
    assert alice.get(path, width=32, height=32).body == picture(20, 20)


def test_fifty_megabytes(alice: Client, library: Library, network: Network) -> None:
    """The files go over the disk into the bucket, and to the client by a redirect. No function holds them in
    memory.
    """
    data = bytes(range(250)) * 200_000
    url = elsewhere(
        network, lambda _: Reply(data, headers={"Content-Type": "video/mp4"}), f"cdn-{library.name}"
    )
    library.new = lambda _: two_parts({"Location": url}, b"")
    answer = get(alice, library)
    assert len(answer.body) == len(data)
    assert answer.body == data
    assert answer.headers["Location"].startswith("/remote/")
    assert kept(library)["size"] == len(data)

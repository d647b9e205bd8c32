"""How media are answered: redirects of large ones, ranges, and headers that stay the same."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.identity import budgets
from murmuration.media import serving
from murmuration.media.serving import parse_range
from tests.in_process import Client
from tests.media.test_media import DOWNLOADS, upload
from tests.media.test_thumbnails import picture

DATA = bytes(range(256)) * 3
NEW, OLD = DOWNLOADS[:2]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function send at most 100 bytes."""
    monkeypatch.setattr(serving, "INLINE_BYTES", 100)


def location(client: Client, path: str, monkeypatch: pytest.MonkeyPatch, **query: Any) -> Any:
    """Return the answer itself, without following redirects."""
    monkeypatch.setattr("tests.in_process.PREFIXES", ("/nowhere",))
    return client.get(path, **query)


def test_a_large_file_is_redirected_to(alice: Client, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    name = upload(alice, DATA, "video/mp4", filename="a.mp4")
    answer = location(alice, f"{NEW}/{name}", monkeypatch)
    assert answer.status == 307
    assert answer.headers["Location"].startswith("/media/")
    assert answer.headers["Cache-Control"] == "private, max-age=600"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("file_name", ["", "/other.mp4"])
def test_the_bucket_answers_with_the_same_headers(
    alice: Client, small: None, monkeypatch: pytest.MonkeyPatch, file_name: str
) -> None:
    name = upload(alice, DATA, "text/html", filename="é.html")
    found = alice.get(f"{NEW}/{name}{file_name}")
    monkeypatch.setattr(serving, "INLINE_BYTES", 10_000)
    inline = alice.get(f"{NEW}/{name}{file_name}")
    assert (found.status, found.body) == (inline.status, inline.body) == (200, DATA)
    for header in (
        "Content-Type", "Content-Disposition", "Content-Security-Policy", "X-Content-Type-Options",
        "Cross-Origin-Resource-Policy", "Cache-Control", "Accept-Ranges", "Access-Control-Allow-Origin",
    ):  # fmt: skip
        assert found.headers[header] == inline.headers[header], header
    assert found.headers["Content-Disposition"].startswith("attachment; ")


def test_a_signed_path_is_good_for_what_it_says(
    alice: Client, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime, timedelta
    from urllib.parse import parse_qsl

    from local_cloud.gateway.answers import is_signed
    from tests.media.conftest import BUCKET

    answer = location(alice, f"{NEW}/{upload(alice, DATA, 'text/html')}", monkeypatch)
    path, _, query = answer.headers["Location"].partition("?")
    pairs, now = dict(parse_qsl(query)), datetime.now(UTC)
    assert is_signed(path, pairs, BUCKET, now + timedelta(minutes=59))
    assert not is_signed(path, pairs, BUCKET, now + timedelta(minutes=61))
    assert not is_signed(path, pairs | {"response-content-disposition": "inline"}, BUCKET, now)


def test_the_old_paths_redirect_if_they_may(alice: Client, small: None, open_media: None) -> None:
    name = upload(alice, DATA)
    assert Client().get(f"{OLD}/{name}", allow_redirect="true").body == DATA
    for query in ({}, {"allow_redirect": "false"}):
        answer = Client().get(f"{OLD}/{name}", **query)
        assert (answer.status, answer.json["errcode"]) == (502, "M_TOO_LARGE")
    for parameter in ("allow_redirect", "allow_remote"):
        answer = Client().get(f"{OLD}/{name}", **{parameter: "perhaps"})
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        ("bytes=0-99", 206, 0, 99),
        ("bytes=700-", 206, 700, 767),
        ("bytes=-10", 206, 758, 767),
        ("bytes=0-100000", 206, 0, 767),
        ("bytes=768-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=5-3", 200, 0, 767),
        ("bytes=0-1,5-6", 200, 0, 767),
        ("items=0-1", 200, 0, 767),
    ],
)
def test_ranges(alice: Client, wanted: str, status: int, first: int, last: int) -> None:
    name = upload(alice, DATA)
    answer = alice.request("GET", f"{NEW}/{name}", headers={"Range": wanted})
    assert answer.status == status
    if status == 416:
        assert answer.headers["Content-Range"] == "bytes */768"
        return
    assert answer.body == DATA[first : last + 1]
    assert answer.headers.get("Content-Range") == (f"bytes {first}-{last}/768" if status == 206 else None)


@pytest.mark.parametrize("tags", ['"1"', 'W/"1"', '"0", "1"', "*"])
@pytest.mark.parametrize("way", ["whole", "thumbnail", "redirect"])
def test_a_client_that_has_the_media_gets_nothing(
    alice: Client, monkeypatch: pytest.MonkeyPatch, tags: str, way: str
) -> None:
    name = upload(alice, picture(640, 480), "image/png")
    where = f"{NEW}/{name}"
    if way == "thumbnail":
        where = f"{NEW.replace('download', 'thumbnail')}/{name}?width=32&height=32&method=crop"
    first = alice.get(where)
    assert (first.status, first.headers["ETag"]) == (200, '"1"')
    if way == "redirect":
        monkeypatch.setattr(serving, "INLINE_BYTES", 10)
    again = alice.request("GET", where, headers={"If-None-Match": tags})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", '"1"')
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    other = alice.request("GET", f"{NEW}/{name}x", headers={"If-None-Match": tags})
    assert other.status == 404


@pytest.mark.parametrize("tags", ['"0"', "1", ""])
def test_a_client_that_has_something_else_gets_the_media(alice: Client, tags: str) -> None:
    name = upload(alice, DATA, "video/mp4")
    answer = alice.request("GET", f"{NEW}/{name}", headers={"If-None-Match": tags})
    assert (answer.status, answer.body) == (200, DATA)


def test_a_range_of_the_version_that_the_client_has(alice: Client) -> None:
    name = upload(alice, DATA, "video/mp4")
    headers = {"Range": "bytes=0-9", "If-Range": '"1"'}
    answer = alice.request("GET", f"{NEW}/{name}", headers=headers)
    assert (answer.status, answer.body) == (206, DATA[:10])


def test_a_range_that_depends_on_what_is_not_known_is_all_of_it(alice: Client) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"etag"'}
    assert alice.request("GET", f"{NEW}/{upload(alice, DATA)}", headers=headers).body == DATA


def test_an_empty_file_has_no_range() -> None:
    assert parse_range("bytes=0-", 0) == (0, -1)
    assert parse_range("", 10) is None


def test_what_a_redirect_sends_is_paid_for_before(
    alice: Client, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = upload(alice, DATA)
    paid: list[tuple[str, float]] = []
    monkeypatch.setattr(budgets, "expect", lambda cost: paid.append(("expect", cost)))
    monkeypatch.setattr(budgets, "add", lambda cost: paid.append(("add", cost)))
    location(alice, f"{NEW}/{name}", monkeypatch)
    assert paid[:2] == [("expect", 0.75 * budgets.SENT_KB), ("add", 0.75 * budgets.SENT_KB)]


@pytest.mark.parametrize("inline", [100, 10_000])
def test_head_tells_the_headers_and_the_size(
    alice: Client, open_media: None, monkeypatch: pytest.MonkeyPatch, inline: int
) -> None:
    monkeypatch.setattr(serving, "INLINE_BYTES", inline)
    name = upload(alice, DATA, "video/mp4", filename="a.mp4")
    headed = alice.request("HEAD", f"{NEW}/{name}")
    assert (headed.status, headed.body) == (200, b"")
    assert headed.headers["Content-Type"] == "video/mp4"
    assert headed.headers["Content-Length"] == str(len(DATA))
    old = Client().request("HEAD", f"{OLD}/{name}")
    assert (old.status, old.body) == ((200, b"") if inline > len(DATA) else (502, b""))


def test_a_path_for_head_shows_no_body(alice: Client, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime
    from urllib.parse import parse_qsl

    from local_cloud.gateway.answers import is_signed
    from tests.media.conftest import BUCKET

    name = upload(alice, DATA)
    monkeypatch.setattr("tests.in_process.PREFIXES", ("/nowhere",))
    answer = alice.request("HEAD", f"{NEW}/{name}")
    assert answer.status == 307
    path, _, query = answer.headers["Location"].partition("?")
    pairs, now = dict(parse_qsl(query)), datetime.now(UTC)
    assert is_signed(path, pairs, BUCKET, now, "HEAD")
    assert not is_signed(path, pairs, BUCKET, now, "GET")

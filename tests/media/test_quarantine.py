"""`murmuration media` on this server's own files: hidden, shown again, deleted, listed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from io import BytesIO, StringIO
from typing import Any

import pytest
from PIL import Image

from murmuration.aws import dynamodb, objects
from murmuration.aws.reads import fetch
from murmuration.media import unused
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.settings import settings
from murmuration.storage import media as storage
from murmuration.storage.unused_media import OwnFile, begin_deletion
from operators import operating
from operators.cli import main
from operators.moderating_media import (
    Uri,
    list_of_room,
    list_of_user,
    parse_uri,
    quarantine,
    release,
    remove,
)
from operators.operating import NotOperable, Server
from tests.in_process import Client
from tests.rooms.people import create_room, ok, refused, send

SERVER = Server("murmuration-test", ServerName("example.org"), "https://matrix.example.org")
DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"
OWN_WAYS = (
    DOWNLOAD,
    THUMBNAIL,
    "/_matrix/media/v3/download",
    "/_matrix/media/r0/thumbnail",
)
Run = Callable[..., tuple[int, str, str]]
SMALL = {"width": "320", "height": "240"}


def picture(color: str = "green") -> bytes:
    output = BytesIO()
    Image.new("RGB", (640, 480), color).save(output, "PNG")
    return output.getvalue()


def upload(client: Client, data: bytes = b"x" * 1000, **query: Any) -> Uri:
    headers = {"Content-Type": "image/png"}
    answer = client.post("/_matrix/media/v3/upload", data, headers=headers, **query)
    return parse_uri(str(ok(answer)["content_uri"]), SERVER)


def ask(client: Client, uri: Uri, way: str = DOWNLOAD) -> Any:
    query = SMALL if "thumbnail" in way else {}
    return client.get(f"{way}/{uri.server_name}/{uri.media_id}", **query)


def used_bytes(client: Client) -> int:
    return fetch(storage.used_bytes_read(UserId(client.user_id)))


def stored_keys(uri: Uri) -> list[str]:
    found = objects.client().list_objects_v2(Bucket=settings().media_bucket)
    return [each["Key"] for each in found.get("Contents", ()) if f"/{uri.media_id}/" in each["Key"]]


@pytest.mark.parametrize("way", OWN_WAYS)
def test_a_quarantined_file_is_hidden_until_it_is_released(
    alice: Client, bob: Client, open_media: None, way: str
) -> None:
    data = picture()
    uri = upload(alice, data)
    assert ask(bob, uri, way).status == 200
    assert "Its bytes are kept" in quarantine(uri)
    quarantine(uri)
    for client in (alice, bob):
        refused(ask(client, uri, way), 404, "M_NOT_FOUND")
    assert used_bytes(alice) == len(data)
    release(uri)
    assert ask(bob, uri, way).status == 200
    with pytest.raises(NotOperable, match="is not quarantined"):
        release(uri)


@pytest.mark.parametrize("hidden_before", [False, True])
def test_a_removed_file_is_gone_with_its_thumbnails_and_its_quota(
    alice: Client, bob: Client, hidden_before: bool
) -> None:
    uri, other = upload(alice, picture()), upload(alice)
    assert ask(bob, uri, THUMBNAIL).status == 200
    assert len(stored_keys(uri)) == 2
    if hidden_before:
        quarantine(uri)
    assert alice.user_id in remove(uri)
    assert stored_keys(uri) == []
    assert used_bytes(alice) == 1000
    refused(ask(bob, uri), 404, "M_NOT_FOUND")
    refused(ask(bob, uri, THUMBNAIL), 404, "M_NOT_FOUND")
    assert ask(bob, other).body == b"x" * 1000
    for again in (remove, quarantine):
        with pytest.raises(NotOperable, match="There are no media"):
            again(uri)
    assert used_bytes(alice) == 1000


def test_a_removal_that_was_interrupted_can_be_repeated(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = upload(alice)
    with monkeypatch.context() as patch:
        patch.setattr(objects, "delete", lambda keys: (_ for _ in ()).throw(ConnectionError))
        with pytest.raises(ConnectionError):
            remove(uri)
    refused(ask(bob, uri), 404, "M_NOT_FOUND")
    remove(uri)
    assert stored_keys(uri) == []
    assert used_bytes(alice) == 0


def test_what_is_uploaded_to_a_hidden_id_stays_hidden(alice: Client, bob: Client) -> None:
    made = ok(alice.post("/_matrix/media/v1/create"))
    uri = parse_uri(made["content_uri"], SERVER)
    assert "no content yet" in remove(uri)
    path = f"/_matrix/media/v3/upload/{uri.server_name}/{uri.media_id}"
    refused(alice.put(path, b"data", headers={"Content-Type": "text/plain"}), 404, "M_NOT_FOUND")
    refused(ask(bob, uri), 404, "M_NOT_FOUND")


def test_an_upload_through_the_gateway_is_removed_before_anybody_asked_for_it(alice: Client) -> None:
    """The item says that such an upload has begun; the first request for it would note that it is there."""
    key = "media/begun-by-the-gateway/abc"
    content = storage.Content(key, "image/png", None, 700, 1)
    user_id = UserId(alice.user_id)
    assert storage.take_bytes(user_id, 700, most=10_000)
    storage.begin("begun-by-the-gateway", user_id, content, until_ms=2**50)
    objects.put(key, b"y" * 700, "image/png")
    remove(parse_uri("mxc://example.org/begun-by-the-gateway", SERVER))
    assert objects.get(key) is None
    assert used_bytes(alice) == 0
    assert dynamodb.get("media", {"media_id": "begun-by-the-gateway"}) is None


def test_the_search_for_unused_files_keeps_a_quarantined_one(alice: Client) -> None:
    uri = upload(alice)
    quarantine(uri)
    media = dynamodb.get("media", {"media_id": uri.media_id})
    assert media is not None
    content = storage.content_of(media)
    assert content is not None
    file = OwnFile(uri.media_id, UserId(alice.user_id), content, 0, deleting=False)
    assert not begin_deletion(file)
    assert not unused._delete(file)
    release(uri)
    assert begin_deletion(file)


def test_an_export_has_no_quarantined_file(alice: Client) -> None:
    shown, hidden = upload(alice), upload(alice)
    quarantine(hidden)
    exported = {media.media_id for media in storage.scan_media()}
    assert shown.media_id in exported
    assert hidden.media_id not in exported


def test_a_users_media_are_listed_in_pages(alice: Client, bob: Client) -> None:
    uris = [upload(alice, b"x" * size, filename="a\x1b[2J.png") for size in (10, 2_000, 3_000)]
    upload(bob)
    quarantine(uris[0])
    user_id = UserId(alice.user_id)
    first = list_of_user(user_id, None, 2, SERVER)
    place = first.notes[0].rpartition(" ")[2]
    second = list_of_user(user_id, place, 2, SERVER)
    lines = first.lines + second.lines
    assert {uri: sum(str(uri) in line for line in lines) for uri in uris} == dict.fromkeys(uris, 1)
    assert [len(first.lines), len(second.lines), len(second.notes)] == [2, 1, 0]
    (line,) = (line for line in lines if str(uris[0]) in line)
    assert " 10 B  " in line
    assert line.endswith("(quarantined)")
    assert "\x1b" not in "".join(lines)
    with pytest.raises(NotOperable, match="an earlier list"):
        list_of_user(user_id, "yesterday", 2, SERVER)


def test_a_rooms_media_are_what_its_events_name(alice: Client) -> None:
    uris = [upload(alice) for _ in range(4)]
    room = RoomId(create_room(alice))
    there = "mxc://elsewhere.example/there"
    send(alice, room, {"msgtype": "m.image", "body": "a", "url": str(uris[0])})
    inside = {"file": {"url": str(uris[1])}, "info": {"thumbnail_file": {"url": there}}}
    send(alice, room, {"msgtype": "m.image", "body": "b", **inside})
    html = f'<img src="{uris[2]}">'
    send(alice, room, {"msgtype": "m.text", "body": str(uris[0]), "formatted_body": html})
    send(alice, room, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"}, "m.room.encrypted")
    listing = list_of_room(room, None, 50, SERVER)
    named = [line.partition("mxc://")[2].split()[0] for line in listing.lines]
    expected = [str(uri).removeprefix("mxc://") for uri in (uris[0], uris[2], uris[1])]
    assert sorted(named) == sorted([*expected, there.removeprefix("mxc://")])
    assert named.index(expected[1]) < named.index(expected[2])
    assert all(alice.user_id in line for line in listing.lines)
    assert [line for line in listing.lines if "(not here)" in line] == [
        line for line in listing.lines if there in line
    ]
    assert len(listing.notes) == 1
    assert "1 of " in listing.notes[0]

    page = list_of_room(room, None, 1, SERVER)
    place = page.notes[-1].rpartition(" ")[2]
    rest = list_of_room(room, place, 50, SERVER)
    assert sorted({line.partition("mxc://")[2].split()[0] for line in page.lines + rest.lines}) == sorted(
        named
    )
    with pytest.raises(NotOperable, match="not a room"):
        list_of_room(RoomId("!nowhere:example.org"), None, 1, SERVER)
    with pytest.raises(NotOperable, match="an earlier list"):
        list_of_room(room, "yesterday", 1, SERVER)


class TestCommand:
    """`murmuration media` as an operator types it."""

    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bucket: str) -> Run:
        monkeypatch.setattr(operating, "connected", lambda *_: contextlib.nullcontext(SERVER))

        def run(*words: str, given: str = "") -> tuple[int, str, str]:
            monkeypatch.setattr("sys.stdin", StringIO(given))
            status = main(["media", *words])
            output = capsys.readouterr()
            return status, output.out, output.err

        return run

    def test_media_are_found_hidden_shown_and_deleted(self, alice: Client, run: Run) -> None:
        first, second = upload(alice), upload(alice)
        status, output, error = run("list", "--user", alice.user_id, "--limit", "1")
        assert (status, output.count("\n"), error.startswith("For older ones")) == (0, 1, True)
        assert run("quarantine", str(first), str(second))[0] == 0
        refused(ask(alice, second), 404, "M_NOT_FOUND")
        assert run("release", str(second))[0] == 0
        assert ask(alice, second).status == 200
        assert run("remove", str(first), given="n\n")[0] == 1
        assert len(stored_keys(first)) == 1
        assert run("remove", str(first), given="y\n")[0] == 0
        assert run("remove", str(second), "--yes")[0] == 0
        assert stored_keys(first) + stored_keys(second) == []
        assert run("list", "--user", alice.user_id) == (0, "", "There are none.\n")

    def test_what_cannot_be_done_is_a_sentence(self, alice: Client, run: Run) -> None:
        uri = upload(alice)
        status, output, error = run("remove", "--yes", "mxc://example.org/unknown", str(uri))
        assert (status, f"{uri} is deleted" in output) == (1, True)
        assert error.startswith("There are no media mxc://example.org/unknown")
        assert run("remove", "--yes", "unknown")[0] == 2
        assert run("release", "mxc://example.org/unknown")[0] == 1
        assert run("list", "--user", "alice", "--limit", "1001") == (2, "", "--limit is at most 1,000.\n")
        assert "is not a user of example.org" in run("list", "--user", "@eve:elsewhere.org")[2]
        assert "not a room that" in run("list", "--room", "nothing")[2]
        lists = ["list", "--user", "a"]
        for words in (["list"], [*lists, "--room", "b"], [*lists, "--limit", "0"], ["remove"], []):
            with pytest.raises(SystemExit):
                run(*words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.org/a",
        "mxc://example.org",
        "mxc://example.org/",
        "mxc://example.org/a/b",
        "mxc://exa mple.org/a",
        "mxc://example.org/a.b",
        "mxc://-.-:99999999/a",
        "AbCd1234",
    ],
)
def test_what_is_no_uri_is_refused(text: str) -> None:
    with pytest.raises(NotOperable, match=r"looks like mxc://example\.org/"):
        parse_uri(text, SERVER)

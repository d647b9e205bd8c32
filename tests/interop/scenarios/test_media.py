"""Files of users of a Synapse at ours and the other way: pictures, thumbnails, avatars, large files."""

from __future__ import annotations

import pytest

from . import files
from .conftest import Pair
from .people import eventually
from .servers import Ours, Theirs
from .test_talking import shared_room

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]

LARGE = 50_000_000


def test_a_picture_is_seen_on_the_other_server(pair: Pair) -> None:
    """It comes with its type and its name. The second time the other server has it stored."""
    host, guest, room_id = shared_room(pair, "10")
    data = files.picture(1200, 900)
    uri = files.upload(host, data, "image/png", "Tür & Tor.png")
    image = {"msgtype": "m.image", "body": "Tür & Tor.png", "url": uri}
    host.send(room_id, "m.room.message", image)
    guest.hears(room_id, "Tür & Tor.png")
    seen = [event["content"].get("url") for event in guest.room(room_id).timeline]
    assert uri in seen
    for _ in range(2):
        found = files.get(guest, "download", uri)
        assert (found.data, found.content_type) == (data, "image/png")
        assert found.disposition.startswith("inline")
        assert "T%C3%BCr%20%26%20Tor.png" in found.disposition


@pytest.mark.parametrize(
    ("method", "wanted", "size"), [("scale", (320, 240), (320, 240)), ("crop", (96, 96), (96, 96))]
)
def test_the_other_server_has_thumbnails(
    pair: Pair, method: str, wanted: tuple[int, int], size: tuple[int, int]
) -> None:
    host, guest = pair.people()
    uri = files.upload(host, files.picture(1200, 900), "image/png")
    query = {"method": method, "width": str(wanted[0]), "height": str(wanted[1])}
    found = files.get(guest, "thumbnail", uri, **query)
    assert found.size == size


def test_a_members_avatar_is_seen_on_the_other_server(pair: Pair) -> None:
    host, guest, room_id = shared_room(pair, "12")
    avatar = files.picture(256, 256)
    uri = files.upload(host, avatar, "image/png")
    host.call("PUT", f"/profile/{host.user_id}/avatar_url", {"avatar_url": uri})

    def of_member() -> object:
        return guest.room(room_id).content("m.room.member", host.user_id).get("avatar_url")

    guest.until(lambda: of_member() == uri, "an avatar")
    assert guest.call("GET", f"/profile/{host.user_id}/avatar_url") == {"avatar_url": uri}
    assert files.get(guest, "download", uri).data == avatar
    thumbnail = files.get(guest, "thumbnail", uri, method="crop", width="96", height="96")
    assert thumbnail.size == (96, 96)


def test_a_large_file(pair: Pair) -> None:
    """50 MB go both ways, and nothing is cut off. Our server accepts them by PUT to an ID that was created
    before.
    """
    host, guest = pair.people()
    data = files.noise(LARGE)
    if isinstance(pair.host, Theirs):
        uri = files.upload(host, data, "video/mp4", "film.mp4")
    else:
        uri = str(host.call("POST", "/_matrix/media/v1/create")["content_uri"])
        files.fill(host, uri, data, "video/mp4")
    for _ in range(2):
        found = files.get(guest, "download", uri)
        assert found.data == data
        assert found.content_type == "video/mp4"
    if isinstance(pair.host, Theirs):  # ours serves parts of it, as players of films ask for them
        part = files.ask(guest, "download", uri, f"bytes={LARGE - 1000}-")
        assert (part.status_code, part.content) == (206, data[-1000:])


def test_an_id_that_the_other_server_does_not_know(pair: Pair) -> None:
    host, guest = pair.people()
    answer = files.ask(guest, "download", f"mxc://{host.server_name}/nothinghere")
    assert (answer.status_code, answer.json()["errcode"]) == (404, "M_NOT_FOUND")


def test_a_file_that_comes_later(pair: Pair) -> None:
    """An ID may be sent before its file is uploaded. A client that asks too early can ask again."""
    host, guest = pair.people()
    uri = str(host.call("POST", "/_matrix/media/v1/create")["content_uri"])
    early = files.ask(guest, "download", uri, timeout_ms="0")
    if isinstance(pair.guest, Ours):
        assert (early.status_code, early.json()["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    else:
        assert early.status_code == 502  # Synapse's word for any 504 of another server
    data = files.picture(64, 64)
    files.fill(host, uri, data, "image/png")
    eventually(lambda: files.ask(guest, "download", uri).content == data, "the file")

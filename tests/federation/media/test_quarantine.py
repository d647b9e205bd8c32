"""`murmuration media` on copies: other servers' files and previews' images go, and don't come back."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.aws import dynamodb, objects
from murmuration.media import remote
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings
from murmuration.storage import remote_media
from operators.moderating_media import Uri, parse_uri, quarantine, release, remove
from operators.operating import NotOperable, Server
from tests.federation.media.conftest import Library, two_parts
from tests.federation.media.test_fetching import DATA, PNG, picture
from tests.federation.media.test_previews import Site, preview, site
from tests.federation.network import Received, Reply
from tests.in_process import Client
from tests.rooms.people import refused

__all__ = ["site"]

SERVER = Server("murmuration-test", ServerName("example.org"), "https://matrix.example.org")
V1 = "/_matrix/client/v1/media"
SMALL = {"width": "320", "height": "240"}


def ask(client: Client, uri: Uri, kind: str = "download") -> Any:
    query = SMALL if kind == "thumbnail" else {}
    return client.get(f"{V1}/{kind}/{uri.server_name}/{uri.media_id}", **query)


def theirs(library: Library) -> Uri:
    return parse_uri(f"mxc://{library.name}/abc", SERVER)


def stored_keys(folder: str) -> list[str]:
    found = objects.client().list_objects_v2(Bucket=settings().media_bucket, Prefix=f"{folder}/")
    return [each["Key"] for each in found.get("Contents", ())]


@pytest.mark.parametrize("do", [quarantine, remove])
def test_a_copy_is_deleted_and_not_fetched_again(
    alice: Client, bob: Client, library: Library, do: Any
) -> None:
    library.new = lambda _: two_parts(PNG, picture(640, 480))
    uri, folder = theirs(library), remote.folder(library.name, "abc")
    assert ask(alice, uri).status == 200
    assert ask(alice, uri, "thumbnail").status == 200
    assert len(stored_keys(folder)) == 2
    assert "The copy here is deleted" in do(uri)
    assert "no copy here" in do(uri)
    assert stored_keys(folder) == []
    for client in (alice, bob):
        for kind in ("download", "thumbnail"):
            refused(ask(client, uri, kind), 404, "M_NOT_FOUND")
    refused(bob.get(f"/_matrix/media/v3/download/{uri.server_name}/abc"), 404, "M_NOT_FOUND")
    assert len(library.asked) == 1
    assert "fetched again" in release(uri)
    assert ask(bob, uri).status == 200
    assert len(library.asked) == 2
    with pytest.raises(NotOperable, match="is not quarantined"):
        release(uri)


def test_a_file_can_be_quarantined_before_it_was_ever_here(alice: Client, library: Library) -> None:
    quarantine(theirs(library))
    refused(ask(alice, theirs(library)), 404, "M_NOT_FOUND")
    assert library.asked == []


def test_a_fetch_that_is_running_stores_nothing(alice: Client, library: Library) -> None:
    def answer(_: Received) -> Reply:
        quarantine(theirs(library))
        return two_parts(PNG, DATA)

    library.new = answer
    refused(ask(alice, theirs(library)), 404, "M_NOT_FOUND")
    assert stored_keys(remote.folder(library.name, "abc")) == []
    refused(ask(alice, theirs(library)), 404, "M_NOT_FOUND")
    assert len(library.asked) == 1


def test_nobody_can_claim_a_quarantined_file(library: Library) -> None:
    """A function that read the item before the quarantine claims it afterwards."""
    quarantine(theirs(library))
    for lost in ("", "remote/lost"):
        assert not remote_media.claim(library.name, "abc", "token", now_ms=1, until_ms=2, lost=lost)


def test_a_quarantine_outlasts_the_items_that_expire(library: Library) -> None:
    quarantine(theirs(library))
    item = dynamodb.get("media", remote_media.remote_key(library.name, "abc"))
    assert item is not None
    assert item["expires"] > 250_000_000_000  # after the year 9800
    assert remote_media.read(library.name, "abc", now_ms=100 * 365 * 86_400_000).failure is not None


def test_a_previews_image_does_not_come_back(alice: Client, bob: Client, site: Site) -> None:
    image = picture(640, 479)
    for target in ("/", "/other"):
        site.page('<title>Tea</title><meta property="og:image" content="/tea.png">', target)
    site.pages["/tea.png"] = Reply(image, headers={"Content-Type": "image/png"})
    uri = parse_uri(preview(alice, site.url()).json["og:image"], SERVER)
    assert ask(bob, uri).body == image
    assert ask(bob, uri, "thumbnail").status == 200
    assert "The copy here is deleted" in quarantine(uri)
    assert stored_keys(f"remote/{uri.media_id}") == []
    refused(ask(bob, uri), 404, "M_NOT_FOUND")
    found = preview(bob, site.url("/other")).json
    assert found["og:title"] == "Tea"
    assert "og:image" not in found
    assert stored_keys(f"remote/{uri.media_id}") == []
    refused(ask(bob, uri), 404, "M_NOT_FOUND")
    release(uri)
    site.page('<meta property="og:image" content="/tea.png">', "/third")
    assert preview(bob, site.url("/third")).json["og:image"] == str(uri)
    assert ask(bob, uri).body == image

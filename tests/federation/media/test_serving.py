"""Media of this server, as other servers ask for them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.media import serving
from murmuration.protocol.encoding.multipart import Reader, boundary_of
from murmuration.settings import settings
from tests.federation.asking import Peer
from tests.federation.media.test_fetching import picture
from tests.in_process import Answer, Client
from tests.media.test_media import create, put, upload

DATA = bytes(range(256)) * 3


def ask(server: Peer, name: str, what: str = "download", **query: Any) -> Answer:
    media_id = name.partition("/")[2]
    return server.get(f"/_matrix/federation/v1/media/{what}/{media_id}", **query)


def parts(answer: Answer) -> tuple[dict[str, str], bytes]:
    """Return the headers and the bytes of the second part; the first is an empty object."""
    assert answer.status == 200, answer.body
    reader = Reader(boundary_of(answer.headers["Content-Type"]), [answer.body])
    assert reader.next_part() == {"content-type": "application/json"}
    assert b"".join(reader.body()) == b"{}"
    headers = reader.next_part()
    assert headers is not None
    data = b"".join(reader.body())
    assert reader.next_part() is None
    return headers, data


def test_a_file_comes_with_its_headers(alice: Client, server: Peer) -> None:
    name = upload(alice, DATA, "image/png", filename="é.png")
    assert parts(ask(server, name)) == (
        {"content-type": "image/png", "content-disposition": "inline; filename*=utf-8''%C3%A9.png"},
        DATA,
    )


def test_a_large_file_comes_by_an_absolute_url(
    alice: Client, server: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "INLINE_BYTES", 100)
    monkeypatch.setattr("murmuration.media.federating.INLINE_BYTES", 100)
    name = upload(alice, DATA, "image/png")
    headers, data = parts(ask(server, name))
    assert (list(headers), data) == (["location"], b"")
    assert headers["location"].startswith(f"{settings().public_url}/media/")


@pytest.mark.parametrize(
    ("media_id", "status", "errcode"), [("none", 404, "M_NOT_FOUND"), ("x" * 300, 404, "M_NOT_FOUND")]
)
def test_what_is_not_there(bucket: str, server: Peer, media_id: str, status: int, errcode: str) -> None:
    answer = ask(server, f"example.org/{media_id}")
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


def test_what_is_yet_to_be_uploaded(alice: Client, server: Peer) -> None:
    name = create(alice)
    answer = ask(server, name, timeout_ms=0)
    assert (answer.status, answer.json["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    put(alice, name)
    assert ask(server, name, timeout_ms=0).status == 200


def test_thumbnails(alice: Client, server: Peer) -> None:
    name = upload(alice, picture(800, 400), "image/png")
    headers, data = parts(ask(server, name, "thumbnail", width=96, height=96))
    assert headers["content-type"] == "image/png"
    with Image.open(BytesIO(data)) as image:
        assert image.size == (320, 160)
    answer = ask(server, upload(alice, b"text", "text/plain"), "thumbnail", width=96, height=96)
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN")
    answer = ask(server, name, "thumbnail", width=96)
    assert (answer.status, answer.json["errcode"]) == (400, "M_MISSING_PARAM")


def test_a_server_is_sent_so_many_megabytes(
    alice: Client, server: Peer, limited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "LIMITS", {**rate_limits.LIMITS, "federation_media": Limit(0.001, 2)})
    name = upload(alice, b"x" * 1_200_000)
    answers = [ask(server, name) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].json["retry_after_ms"] > 0


def test_without_a_signature_nothing_is_given(alice: Client, server: Peer) -> None:
    name = upload(alice)
    answer = Client().get(f"/_matrix/federation/v1/media/download/{name.partition('/')[2]}")
    assert (answer.status, answer.json["errcode"]) == (401, "M_UNAUTHORIZED")

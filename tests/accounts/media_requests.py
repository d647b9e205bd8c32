"""Requests for media that take from a limit, some of them by other servers: part of the table of limits."""

from __future__ import annotations

from typing import Any

from tests.accounts.limits_of_servers import by_server, called
from tests.in_process import Answer

Stage = Any


def wait_for_media(stage: Stage) -> Answer:
    uri = stage.alice.post("/_matrix/media/v1/create").json["content_uri"].removeprefix("mxc://")
    found: Answer = stage.alice.get(f"/_matrix/client/v1/media/download/{uri}")
    return found


def send_media(stage: Stage) -> Answer:
    from murmuration.media import federating
    from murmuration.media.asking import Asked
    from murmuration.media.serving import File

    file = File(b"x", "text/plain", None)
    return called(lambda: federating._answer(file, Asked(by_server(stage))))


def fetch_media(stage: Stage) -> Answer:
    found: Answer = stage.alice.get(f"/_matrix/client/v1/media/download/{by_server(stage)}/abc")
    return found


def take_megabytes(stage: Stage) -> Answer:
    from murmuration.media import remote

    return called(lambda: remote._take(by_server(stage), 1))


def preview(stage: Stage) -> Answer:
    found: Answer = stage.alice.get("/_matrix/client/v1/media/preview_url", url="https://a.invalid/")
    return found

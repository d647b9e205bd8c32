"""Requests for media that take from a limit, for the table of limits; some are other servers' to make."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from murmuration.protocol.errors import MatrixError
from tests.in_process import Answer

Stage = Any


def called(function: Callable[[], object]) -> Answer:
    """What a call comes to, where the request that makes it would have to be another server's."""
    try:
        function()
    except MatrixError as error:
        return Answer(error.status, {}, json.dumps(error.body()).encode())
    return Answer(200, {}, b"{}")


def by_server(stage: Stage) -> str:
    """The name of another server, of this stage alone."""
    return f"{stage.alice.user_id[1:].partition(':')[0]}.example"


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

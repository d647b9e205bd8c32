"""Finding the media that an mxc: URI names, of this server or of another one.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import replace

from murmuration.aws import objects
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.media.asking import Asked
from murmuration.media.serving import Served, serve
from murmuration.media.unused import note_use
from murmuration.protocol.errors import LimitExceeded, NotFound, NotYetUploaded
from murmuration.protocol.identifiers import ServerName, is_valid_server_name
from murmuration.settings import settings
from murmuration.storage import media as storage
from murmuration.storage.media import Content, Media

MAX_WAIT_MS = 15_000
WAIT_STEP_MS = 400
HURRY_STEPS = 5
_MEDIA_ID = re.compile("[A-Za-z0-9_-]{1,255}")


def get_content(server_name: ServerName, media_id: str, asked: Asked, file_name: str | None = None) -> Served:
    """Return media as they were uploaded. Raises what `find_content` and `serve` raise."""
    content = find_content(server_name, media_id, asked)
    try:
        return serve(content, asked, file_name)
    except NotFound:
        return serve(find_again(server_name, media_id, asked, content), asked, file_name)


def find_again(server_name: ServerName, media_id: str, asked: Asked, lost: Content) -> Content:
    """Fetch remote media again, because the bucket has lost them. Raises NotFound."""
    if server_name == settings().server_name:
        raise NotFound("The media are gone")
    from murmuration.media import remote

    return remote.replace_lost(server_name, media_id, asked, lost)


def find_content(server_name: ServerName, media_id: str, asked: Asked) -> Content:
    """Return the metadata of media, after waiting for their upload or fetch.

    Requests without authentication don't wait, and get only media from before the deployment's freeze. An
    asker with too many waits gets NotYetUploaded at once, because each wait holds a function. Raises
    NotFound, NotYetUploaded, LimitExceeded, and what `remote.find_content` raises.
    """
    if server_name == settings().server_name:
        return find_own_content(media_id, asked)
    check_name(server_name, media_id)
    from murmuration.media import remote

    return _unless_frozen(remote.find_content(server_name, media_id, asked), asked)


def find_own_content(media_id: str, asked: Asked) -> Content:
    """Return the metadata of media of this server, as `find_content` does. Raises NotFound,
    NotYetUploaded.
    """
    media = find_own_media(media_id)
    content = media.content
    if content is None and asked.asker and asked.timeout_ms > 0:
        content = _await_content(media, asked)
    if content is None:
        raise NotYetUploaded("The media have not been uploaded yet")
    found = _unless_frozen(content, asked)
    note_use(media)
    return found


def _unless_frozen(content: Content, asked: Asked) -> Content:
    if not asked.asker and content.uploaded_ms >= settings().unauthenticated_media_before_ms:
        raise NotFound("These media need an access token: ask for them under /_matrix/client/v1/media")
    return content


def check_name(server_name: ServerName, media_id: str) -> None:
    """Raise NotFound for an invalid media ID or server name."""
    if not is_valid_server_name(server_name) or not _MEDIA_ID.fullmatch(media_id):
        raise NotFound("This is not the name of any media")


def find_own_media(media_id: str) -> Media:
    """Return the stored item of a media ID of this server.

    Raises NotFound, also if the time for its upload is over. If its upload has begun and the body is in the
    bucket, the item is completed now.
    """
    check_name(settings().server_name, media_id)
    media = storage.read(media_id)
    if media is not None and media.content is None and media.begun is not None:
        media = _look_for(media, media.begun)
    if media is None or (media.content is None and (media.pending_until_ms or 0) <= now_ms()):
        raise NotFound("There are no such media")
    return media


def _look_for(media: Media, begun: Content) -> Media:
    size = objects.size_of(begun.object)
    if size is None:
        return media
    content = replace(begun, size=size)
    with suppress(ConditionFailed):  # another request has done the same
        storage.complete_begun(media, content)
    return replace(media, content=content, begun=None)


def _await_content(media: Media, asked: Asked) -> Content | None:
    """Return the content that was uploaded during the wait; None if there is none, or the asker has too many
    waits.

    Every `HURRY_STEPS` steps it checks whether CloudFront has stored an upload that waits to be settled.
    """
    from murmuration.media.incoming import settling

    with suppress(LimitExceeded):
        rate_limits.check("media_wait", asked.asker)
        deadline = time.monotonic() + min(asked.timeout_ms, MAX_WAIT_MS) / 1000
        step = 0
        while (left := deadline - time.monotonic()) > 0:
            if step % HURRY_STEPS == 0:
                settling.hurry(media)
            step += 1
            time.sleep(min(left, WAIT_STEP_MS / 1000))
            if (content := find_own_media(media.media_id).content) is not None:
                return content
    return None

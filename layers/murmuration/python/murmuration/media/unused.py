"""Deletes this server's own files that haven't been used for `local_media_days`, if an operator sets that.

A use is recorded at most once a day, and only while the setting is on. So a file that was never used since
the setting was turned on counts as used at that moment, and no file is deleted earlier than
`local_media_days` after it.

A file is deleted in three steps, each of which may be repeated: it is hidden, its objects are deleted, and
then its item is deleted and its bytes are given back to its owner's quota. If a search stops between the
steps, the next one finds the file again. A user's current avatar is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws import objects
from murmuration.clock import DAY_MS, now_ms
from murmuration.settings import settings
from murmuration.storage import unused_media as storage
from murmuration.storage.media import mxc_uri
from murmuration.storage.unused_media import OWN, OwnFile, Search
from murmuration.storage.users.profiles import read_profile

if TYPE_CHECKING:
    from murmuration.storage.media import Media


def note_use(media: Media) -> None:
    """Record that a file of this server is used, at most once a day."""
    content, now = media.content, now_ms()
    if not settings().local_media_days or content is None or not content.object.startswith(OWN):
        return
    if now - max(media.used_ms, content.uploaded_ms) >= DAY_MS:
        storage.note_use(media.media_id, before_ms=media.used_ms, now_ms=now)


def delete_unused_media(*, budget_ms: int) -> int:
    """Delete the files that weren't used for long, until the time is over. Returns how many were deleted."""
    deadline = now_ms() + budget_ms
    search = storage.read_search()
    days = settings().local_media_days
    if not days:
        if search is not None:
            storage.write_search(None)
        return 0
    if search is None:
        search = Search(now_ms())
        storage.write_search(search)
    # Uses are recorded once a day, so the last use may be a day later than its record.
    unused_since_ms = now_ms() - (days + 1) * DAY_MS
    deleted, after = 0, search.after
    while now_ms() < deadline:
        files, after = storage.read_files(after)
        for file in files:
            if now_ms() >= deadline:
                return deleted
            used_ms = max(file.used_ms, file.content.uploaded_ms, search.since_ms)
            if file.deleting or (used_ms < unused_since_ms and not _is_avatar(file)):
                deleted += _delete(file)
        storage.write_search(Search(search.since_ms, after))
        if after is None:
            break
    return deleted


def _is_avatar(file: OwnFile) -> bool:
    """Return whether a file is its owner's current avatar."""
    return read_profile(file.user_id).fields.get("avatar_url") == mxc_uri(file.media_id)


def _delete(file: OwnFile) -> bool:
    """Delete a file. Returns False if it was used meanwhile."""
    if not file.deleting and not storage.begin_deletion(file):
        return False
    complete_deletion(file)
    return True


def complete_deletion(file: OwnFile) -> None:
    """Delete the bytes and the thumbnails of a file whose deletion has begun, and then its item."""
    from murmuration.media.thumbnails import NAMES

    objects.delete([file.content.object, *(f"thumbnail/{file.media_id}/{name}" for name in NAMES)])
    storage.finish_deletion(file)

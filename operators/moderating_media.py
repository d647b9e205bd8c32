"""Lists, hides and deletes single media, for `murmuration media`.

A quarantined file isn't given to anybody: clients and other servers get 404 `M_NOT_FOUND`. A user's own file
keeps its bytes, so that a quarantine can be undone. Copies of other servers' files and of previews' images
are deleted at once, and don't come back while the quarantine lasts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from operators.operating import NotOperable, Server

if TYPE_CHECKING:
    from murmuration.aws.reads import Answer, Read
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId
    from murmuration.storage.quarantine import Stored
    from murmuration.storage.rooms.room_items import LogEntry

EVENTS_READ = 2_000
"""How many of a room's events one page of its media reads."""
EVENTS_AT_ONCE = 200
MESSAGE = "These media were removed by the administrators of this server"
_URI = re.compile(r"mxc://([^/\s\"'<>\\?#&]{1,255})/([A-Za-z0-9_-]{1,255})")


@dataclass(frozen=True, slots=True)
class Uri:
    """The two parts of an mxc: URI, and whether the media are this server's."""

    server_name: ServerName
    media_id: str
    is_own: bool

    @property
    def is_user_s(self) -> bool:
        """Whether a user of this server uploaded the media, as far as the ID tells."""
        from murmuration.media.previews import IMAGE_PREFIX

        return self.is_own and not self.media_id.startswith(IMAGE_PREFIX)

    @property
    def read(self) -> Read[Stored | None]:
        """The read of what is stored of them."""
        from murmuration.storage import quarantine

        if self.is_own:
            return quarantine.own_read(self.media_id)
        return quarantine.remote_read(self.server_name, self.media_id)

    def __str__(self) -> str:
        return f"mxc://{self.server_name}/{self.media_id}"


def parse_uri(text: str, server: Server) -> Uri:
    """Return the parts of an mxc: URI. Raises NotOperable."""
    from murmuration.protocol.identifiers import ServerName, is_valid_server_name

    found = _URI.fullmatch(text)
    if found is None or not is_valid_server_name(found[1]):
        raise NotOperable(f"{text!r} is not a media URI. It looks like mxc://{server.server_name}/AbCd1234.")
    return Uri(ServerName(found[1]), found[2], found[1] == server.server_name)


# -- Hiding and deleting ---------------------------------------------------------------------------------


def quarantine(uri: Uri) -> str:
    """Hide media from everybody, and return a sentence. May be repeated. Raises NotOperable."""
    from murmuration.clock import now_ms
    from murmuration.storage import quarantine as storage

    if not uri.is_user_s:
        return remove(uri)
    if not storage.quarantine_own(uri.media_id, now_ms=now_ms()):
        raise _unknown(uri)
    return f"{uri} is hidden. Its bytes are kept: release shows it again, remove deletes it."


def remove(uri: Uri) -> str:
    """Delete media and all that was made of them, and return a sentence. May be repeated.

    A user gets the file's bytes back in their quota. Raises NotOperable.
    """
    if uri.is_user_s:
        return _remove_own(uri)
    return _remove_copy(uri)


def _remove_own(uri: Uri) -> str:
    """Delete a user's file. An ID to which nothing was uploaded yet is hidden instead."""
    from murmuration.aws.reads import fetch
    from murmuration.clock import now_ms
    from murmuration.media.unused import complete_deletion
    from murmuration.storage import quarantine as storage
    from murmuration.storage.unused_media import OwnFile

    found = fetch(uri.read)
    if found is None:
        raise _unknown(uri)
    if found.content is None:
        storage.quarantine_own(uri.media_id, now_ms=now_ms())
        return f"{uri} has no content yet. What is uploaded to it will be hidden."
    if found.user_id is None or not storage.begin_removal(uri.media_id):
        raise _unknown(uri)
    complete_deletion(OwnFile(uri.media_id, found.user_id, found.content, 0, deleting=True))
    return f"{uri} is deleted, {_size(found.content.size)} of {_shown(found.user_id)}."


def _remove_copy(uri: Uri) -> str:
    """Quarantine another server's file or a preview's image, and delete the bytes that are here."""
    from murmuration.aws import objects
    from murmuration.aws.reads import fetch
    from murmuration.clock import now_ms
    from murmuration.media import remote
    from murmuration.media.thumbnails import NAMES
    from murmuration.storage import quarantine as storage

    found = fetch(uri.read)
    if uri.is_own:
        folder = f"remote/{uri.media_id}"
        storage.quarantine_preview(uri.media_id, now_ms=now_ms())
    else:
        folder = remote.folder(uri.server_name, uri.media_id)
        storage.quarantine_remote(uri.server_name, uri.media_id, message=MESSAGE, now_ms=now_ms())
    copies = [found.content.object] if found is not None and found.content is not None else []
    objects.delete([*copies, *(f"{folder}/{name}" for name in NAMES)])
    was = "The copy here is deleted" if copies else "There was no copy here"
    return f"{uri} is hidden. {was}, and none will be made."


def release(uri: Uri) -> str:
    """End a quarantine, and return a sentence. Raises NotOperable."""
    from murmuration.storage import quarantine as storage

    if uri.is_user_s:
        if storage.release_own(uri.media_id):
            return f"{uri} is shown again."
    elif storage.release_copy(uri.read):
        return f"{uri} is fetched again when somebody asks for it."
    raise NotOperable(f"{uri} is not quarantined.")


def _unknown(uri: Uri) -> NotOperable:
    return NotOperable(f"There are no media {uri}: they were deleted, or never uploaded.")


# -- Listing ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Listing:
    """One page of media: its lines, and notes for the operator, as how to see the next page."""

    lines: list[str]
    notes: list[str] = field(default_factory=list)


def list_of_user(user_id: UserId, before: str | None, limit: int, server: Server) -> Listing:
    """Return the newest files that a user uploaded. Raises NotOperable."""
    from murmuration.protocol.identifiers import ServerName
    from murmuration.storage.quarantine import place_of, read_newest

    found = read_newest(user_id, before=_place(before), limit=limit)
    name = ServerName(server.server_name)
    listing = Listing([_line(Uri(name, each.media_id, is_own=True), each) for each in found])
    if len(found) == limit:
        time, media_id = place_of(found[-1])
        listing.notes.append(f"For older ones, add --before {time}/{media_id}")
    return listing


def _place(before: str | None) -> tuple[int, str] | None:
    """Return the place that `--before` names. Raises NotOperable."""
    if before is None:
        return None
    time, _, media_id = before.partition("/")
    if not (time.isascii() and time.isdecimal()):
        raise NotOperable("--before is what an earlier list of this user's media said at its end.")
    return int(time), media_id


def list_of_room(room_id: RoomId, before: str | None, limit: int, server: Server) -> Listing:
    """Return the media that a room's newest events name. Raises NotOperable.

    It reads up to EVENTS_READ events. Encrypted messages hide what they name, so it counts them.
    """
    from murmuration.aws.reads import Batch
    from murmuration.storage.rooms.room_heads import read_head

    if before is not None and re.fullmatch(r"-?[0-9]{1,15}", before) is None:
        raise NotOperable("--before is what an earlier list of this room's media said at its end.")
    head = read_head(room_id)
    if head is None:
        raise NotOperable(f"{room_id} is not a room that this server knows.")
    shown: list[tuple[Uri, LogEntry]] = []
    seen: set[Uri] = set()
    read = encrypted = 0
    last: int | None = None
    for entry in _newest_events(room_id, head.room_version, int(before) if before else None):
        if read == EVENTS_READ or len(shown) >= limit:
            break
        read, last = read + 1, entry.ordinal
        encrypted += entry.event.type == "m.room.encrypted"
        new = [uri for uri in uris_in(entry, server) if uri not in seen]
        seen.update(new)
        shown += [(uri, entry) for uri in new]
    else:
        last = None
    batch = Batch()
    answers: list[Answer[Stored | None]] = [batch.add(uri.read) for uri, _ in shown]
    batch.fetch()
    listing = Listing(
        [
            _line(uri, answer.value, f"{_shown(entry.event.sender)} {_shown(entry.event.event_id)}")
            for (uri, entry), answer in zip(shown, answers, strict=True)
        ]
    )
    if encrypted:
        listing.notes.append(
            f"{encrypted} of {read} events are encrypted: list what a member has uploaded by --user."
        )
    if last is not None:
        listing.notes.append(f"For older ones, add --before {last}")
    return listing


def _newest_events(room_id: RoomId, room_version: str, before: int | None) -> Iterator[LogEntry]:
    """Yield the events of a room's log, the newest first."""
    from murmuration.protocol.room_versions import get_room_version
    from murmuration.storage.rooms.room_items import read_log_page

    version = get_room_version(room_version)
    while page := read_log_page(room_id, version, before=before, limit=EVENTS_AT_ONCE, forward=False):
        yield from page
        before = page[-1].ordinal


def uris_in(entry: LogEntry, server: Server) -> list[Uri]:
    """Return the media URIs that an event's content names anywhere, each once."""
    from murmuration.protocol.identifiers import ServerName, is_valid_server_name

    text = json.dumps(entry.event.content, ensure_ascii=False)
    found = dict.fromkeys(_URI.findall(text))
    return [
        Uri(ServerName(name), media_id, name == server.server_name)
        for name, media_id in found
        if is_valid_server_name(name)
    ]


def _line(uri: Uri, stored: Stored | None, by: str = "") -> str:
    """Return media in one line. What users chose is shown as JSON, so that it can't control the terminal."""
    from datetime import UTC, datetime

    content = stored.content if stored is not None else None
    parts = [str(uri)]
    if content is not None:
        when = datetime.fromtimestamp(content.uploaded_ms / 1000, UTC)
        parts = [f"{when:%Y-%m-%d %H:%M} UTC", f"{_size(content.size):>9}", str(uri)]
        parts.append(_shown(content.content_type))
        parts += [json.dumps(content.file_name)] if content.file_name else []
    elif stored is None or not stored.quarantined_ms:
        parts.append("(not here)")
    if stored is not None and stored.quarantined_ms:
        parts.append("(quarantined)")
    return "  ".join([*parts, *([by] if by else [])])


def _shown(text: str) -> str:
    """Return a text with its control characters escaped."""
    return json.dumps(text)[1:-1]


def _size(size: int) -> str:
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1_000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"

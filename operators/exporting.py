"""Writes everything that a server stores into a folder, in formats that other programs can read.

The folder has lines of JSON for accounts, rooms, events and media, the files themselves, the signing keys,
and every item of the permanent tables. For a consistent export, nobody should use the server meanwhile: the
tables are read one after the other.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from operators.operating import NotOperable, Server, with_progress

if TYPE_CHECKING:
    from murmuration.storage.media import Content
    from murmuration.storage.rooms.room_heads import RoomHead

FORMAT = 1
SUMMARY = "export.json"
EVENTS_AT_ONCE = 500
Say = Callable[[str], None]


def export(server: Server, folder: Path, say: Say, *, media: bool = True) -> None:
    """Write everything into `folder`, which is new, empty, or has an earlier export. Raises NotOperable.

    An earlier export is written again, except media that are there already.
    """
    _open(folder)
    summary: dict[str, Any] = {"format": FORMAT, "server_name": server.server_name, "complete": False}
    _write(folder / SUMMARY, json.dumps(summary))
    _write_keys(folder)
    parts: list[tuple[str, Callable[[Path], int]]] = [("accounts", _accounts), ("rooms", _rooms)]
    if media:
        parts.append(("media", _media))
    parts.append(("items", _tables))
    for name, part in parts:
        summary[name] = part(folder)
        say(f"{summary[name]} {name}")
    _write(folder / SUMMARY, json.dumps({**summary, "complete": True}))


def _open(folder: Path) -> None:
    """Make the folder, readable only by its owner."""
    if folder.exists() and not folder.is_dir():
        raise NotOperable(f"{folder} is a file: name a folder that is new or empty.")
    if folder.exists() and any(folder.iterdir()) and not (folder / SUMMARY).exists():
        raise NotOperable(f"{folder} has other files: name a folder that is new or empty.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("rooms", "media", "tables"):
        (folder / name).mkdir(exist_ok=True)


def _write(path: Path, text: str) -> None:
    """Write a file, readable only by its owner."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text.rstrip("\n") + "\n")


@contextmanager
def _lines(path: Path) -> Iterator[Callable[[Any], None]]:
    """Open a file for lines of JSON. Bytes are written as base64."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        yield lambda value: print(json.dumps(value, default=_base64, ensure_ascii=False), file=file)


def _base64(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"no JSON is known for {type(value)}")
    return b64encode(value).decode()


def _write_keys(folder: Path) -> None:
    """Write the signing key in Synapse's format, and former keys beside it."""
    from murmuration.aws.parameters import read_secret
    from murmuration.server_keys import PARAMETER
    from murmuration.settings import settings

    in_use, *former = read_secret(settings().parameter(PARAMETER)).splitlines()
    _write(folder / "signing-key", in_use)
    if former:
        _write(folder / "former-signing-keys", "\n".join(former))


# -- Accounts --------------------------------------------------------------------------------------------


def _accounts(folder: Path) -> int:
    """Write `users.jsonl`, and return the number of accounts."""
    from murmuration.storage.users.accounts import scan_accounts

    count = 0
    with _lines(folder / "users.jsonl") as write:
        for account in with_progress(scan_accounts(), "accounts"):
            write(_account(account))
            count += 1
    return count


def _account(account: Any) -> dict[str, Any]:
    """Return an account in the form of the export. Password hashes are only in the exported table."""
    from murmuration.storage.users import account_data, memberships, profiles, threepids

    user_id = account["user_id"]
    told = {name: account.get(name) for name in ("user_id", "created_ms", "admin", "deactivated_ms")}
    return {
        **{name: value for name, value in told.items() if value is not None},
        "profile": dict(profiles.read_profile(user_id).fields),
        "addresses": [
            {"medium": each.medium, "address": each.address} for each in threepids.read_addresses(user_id)
        ],
        "rooms": {
            each.room_id: each.membership for each in memberships.read_memberships(user_id, forgotten=True)
        },
        "account_data": [
            {"room_id": room_id, "type": kind, "content": content}
            for room_id, kind, content in account_data.read_all(user_id)
        ],
    }


# -- Rooms -----------------------------------------------------------------------------------------------


def _rooms(folder: Path) -> int:
    """Write `rooms.jsonl`, and two files for each room. Returns the number of rooms."""
    from murmuration.storage.rooms.room_heads import scan_heads

    count = 0
    with _lines(folder / "rooms.jsonl") as write:
        for head in with_progress(scan_heads(), "rooms"):
            count += 1
            write(_room(folder, head, f"rooms/{count}"))
    return count


def _room(folder: Path, head: RoomHead, name: str) -> dict[str, Any]:
    """Write a room's events and its current state, and return the room's line for `rooms.jsonl`."""
    from murmuration.protocol.room_versions import get_room_version
    from murmuration.storage.rooms.room_items import read_state_of_type

    version = get_room_version(head.room_version)
    with _lines(folder / f"{name}.events.jsonl") as write:
        events = sum(write(_event(event)) is None for event in _events(head))
    with _lines(folder / f"{name}.state.jsonl") as write:
        for entry in read_state_of_type(head.room_id, version):
            write(_event(entry.event))
    return {
        "room_id": head.room_id,
        "room_version": head.room_version,
        "events": events,
        "files": [f"{name}.events.jsonl", f"{name}.state.jsonl"],
    }


def _events(head: RoomHead) -> Iterator[Any]:
    """Yield the events of a room's log, the oldest first."""
    from murmuration.protocol.room_versions import get_room_version
    from murmuration.storage.rooms.room_items import read_log_page

    version, after = get_room_version(head.room_version), head.oldest - 1
    while page := read_log_page(head.room_id, version, after=after, limit=EVENTS_AT_ONCE):
        yield from (entry.event for entry in page)
        after = page[-1].ordinal


def _event(event: Any) -> dict[str, Any]:
    return {"event_id": event.event_id, "pdu": event.pdu}


# -- Media -----------------------------------------------------------------------------------------------


def _media(folder: Path) -> int:
    """Write `media.jsonl` and each file. Returns the number of files. A missing file is marked as missing."""
    from murmuration.storage.media import scan_media

    count = 0
    with _lines(folder / "media.jsonl") as write:
        for media in with_progress(scan_media(), "media"):
            content = media.content
            assert content is not None  # noqa: S101 - they are scanned for it
            path = folder / "media" / quote(media.media_id, safe="")
            write(
                {
                    "media_id": media.media_id,
                    "user_id": media.user_id,
                    "content_type": content.content_type,
                    "file_name": content.file_name,
                    "size": content.size,
                    "uploaded_ms": content.uploaded_ms,
                    "file": f"media/{path.name}" if _fetch(content, path) else None,
                }
            )
            count += 1
    return count


def _fetch(content: Content, path: Path) -> bool:
    """Fetch a file that isn't there yet, or isn't complete. Returns False if the bucket doesn't have it."""
    from murmuration.aws import objects

    if path.exists() and path.stat().st_size == content.size:
        return True
    path.unlink(missing_ok=True)
    found = objects.get(content.object)
    if found is None:
        return False
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(found.data)
    part.rename(path)
    return True


# -- Tables ----------------------------------------------------------------------------------------------


def _tables(folder: Path) -> int:
    """Write the items of the permanent tables in DynamoDB's own JSON. Returns their number."""
    from murmuration.storage.tables import TABLES

    count = 0
    for name in (table.name for table in TABLES if table.is_backed_up):
        with _lines(folder / "tables" / f"{name}.jsonl") as write:
            count += _write_items(write, with_progress(_stored(name), f"items of {name}"))
    return count


def _stored(table: str) -> Iterator[Any]:
    """Yield every item of a table as DynamoDB stores it, page by page, eventually consistent."""
    from murmuration.aws.calls import call
    from murmuration.settings import settings

    more: dict[str, Any] = {}
    while True:
        page = call("dynamodb", "Scan", {"TableName": settings().table(table), **more})
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _write_items(write: Callable[[Any], None], items: Iterable[Any]) -> int:
    count = 0
    for item in items:
        write({"Item": item})
        count += 1
    return count

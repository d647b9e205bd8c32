"""Upgrades a room: creates a new room of another version, and a tombstone that points to it.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import BadJson, Forbidden, NotFound
from murmuration.protocol.event_types import (
    CANONICAL_ALIAS,
    CANONICAL_ALIAS_KEY,
    CREATE,
    CREATE_KEY,
    DIRECT,
    MEMBER,
    POWER_LEVELS,
    POWER_LEVELS_KEY,
    SPACE_CHILD,
    TAG,
    TOMBSTONE,
    TOMBSTONE_KEY,
)
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import RoomId, UserId, parse_user_id
from murmuration.protocol.power_levels import (
    CREATOR_LEVEL,
    DEFAULT_LEVELS,
    INFINITE,
    PowerLevels,
    creators_of,
)
from murmuration.protocol.room_versions import RoomVersion, get_room_version
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.membership.member_content import member_content
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append, Draft, append
from murmuration.settings import settings
from murmuration.storage.rooms import directory, room_items
from murmuration.storage.users import account_data

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content, JsonDict

TRANSFERRED: tuple[StateKey, ...] = tuple(
    (f"m.room.{name}", "")
    for name in (
        "server_acl",
        "encryption",
        "name",
        "avatar",
        "topic",
        "guest_access",
        "history_visibility",
        "join_rules",
    )
)
SPACE = "m.space"
_AT_ONCE = 16


def upgrade_room(
    requester: Requester, room_id: RoomId, new_version: str, additional_creators: Sequence[object] = ()
) -> str:
    """Replace a room by one of another version, and return the new room's ID.

    The new room and the old room's tombstone are written in one transaction; aliases, bans, a space's
    children and the requester's settings follow. A repeated request continues with these, and returns the
    same room. Raises UnsupportedRoomVersion, BadJson, InvalidParam, NotFound for an unknown room, Forbidden,
    LimitExceeded.
    """
    rate_limits.check("room_creation", requester.user_id)
    version = get_room_version(new_version)
    creators = _parse_creators(additional_creators) if version.additional_creators else []
    if not fits_id(room_id):
        raise NotFound(f"Room {room_id[:40]}… is not known")

    def plan(batch: Append) -> RoomId:
        own = (MEMBER, requester.user_id)
        old = batch.state([CREATE_KEY, POWER_LEVELS_KEY, TOMBSTONE_KEY, own, *TRANSFERRED])
        member = old.get(own)
        if member is None or member.membership != "join":
            raise unknown_room(room_id)
        if (earlier := _replaced_by(requester.user_id, room_id, version, creators, old)) is not None:
            return earlier
        new = _replace(batch, requester.user_id, version, creators, old)
        batch.companions = [new]
        if directory.is_published(room_id):
            batch.writes = [directory.publish_write(new.room_id), directory.withdraw_write(room_id)]
        return new.room_id

    new_id = append(room_id, plan)
    _move_aliases(requester.user_id, room_id, new_id)
    _transfer_bans(requester.user_id, room_id, new_id)
    _transfer_children(requester.user_id, room_id, new_id)
    transfer_settings(requester.user_id, room_id, new_id)
    return new_id


def _parse_creators(value: Sequence[object]) -> list[UserId]:
    for user_id in value:
        if not isinstance(user_id, str):
            raise BadJson("additional_creators must be a list of user IDs")
        parse_user_id(user_id)
    return [UserId(str(user_id)) for user_id in value]


def _replaced_by(
    sender: UserId,
    room_id: RoomId,
    version: RoomVersion,
    creators: Sequence[UserId],
    state: Mapping[StateKey, Event],
) -> RoomId | None:
    """Return the room with which the same request has already replaced this one; None if it hasn't."""
    tombstone = state.get(TOMBSTONE_KEY)
    new_id = tombstone.content.get("replacement_room") if tombstone is not None else None
    if tombstone is None or tombstone.sender != sender or not isinstance(new_id, str) or not fits_id(new_id):
        return None
    new_room_id = RoomId(new_id)
    head = room_items.read_head(new_room_id)
    create = Room(head).event(*CREATE_KEY) if head is not None and head.version == version else None
    if create is None or create.sender != sender or _predecessor(create) != room_id:
        return None
    return new_room_id if create.content.get("additional_creators", []) == list(creators) else None


def _predecessor(create: Event) -> RoomId | None:
    """Return the room that this one replaces, according to its create event."""
    named = create.content.get("predecessor")
    room_id = named.get("room_id") if isinstance(named, dict) else None
    return RoomId(room_id) if isinstance(room_id, str) and fits_id(room_id) else None


def _replace(
    old: Append,
    sender: UserId,
    version: RoomVersion,
    creators: Sequence[UserId],
    state: Mapping[StateKey, Event],
) -> Append:
    """Add the tombstone to the old room, and build the new one. Each names the other.

    If a room's ID is the hash of its create event, that event can't contain the tombstone's ID.
    """
    before = state[CREATE_KEY].content
    create: JsonDict = {name: before[name] for name in ("type", "m.federate") if name in before}
    create["room_version"] = version.id
    if not version.implicit_room_creator:
        create["creator"] = sender
    if creators:
        create["additional_creators"] = list(creators)
    if version.create_event_is_room_id:
        new = Append(version)
        new.add(Draft(CREATE, sender, {**create, "predecessor": {"room_id": old.room_id}}, ""))
        _close(old, sender, new.room_id, state)
    else:
        new = Append(version, room_id=RoomId(f"!{secrets.token_urlsafe(18)}:{settings().server_name}"))
        tombstone = _close(old, sender, new.room_id, state)
        predecessor = {"room_id": old.room_id, "event_id": tombstone.event_id}
        new.add(Draft(CREATE, sender, {**create, "predecessor": predecessor}, ""))
    new.add(Draft(MEMBER, sender, member_content(sender, "join"), sender))
    for pair in TRANSFERRED:
        if pair in state:
            new.add(Draft(pair[0], sender, state[pair].content, pair[1]))
    # The last one, because it may take from the sender the power to send the others.
    if POWER_LEVELS_KEY in state:
        levels = _levels(old.version, version, {sender, *creators}, state)
        new.add(Draft(POWER_LEVELS, sender, levels, ""))
    return new


def _close(old: Append, sender: UserId, new_id: str, state: Mapping[StateKey, Event]) -> Event:
    """Add the tombstone and, if the sender may, stop members from writing and inviting. Raises Forbidden."""
    content = {"body": "This room has been replaced", "replacement_room": new_id}
    tombstone = old.add(Draft(TOMBSTONE, sender, content, ""))
    if POWER_LEVELS_KEY in state:
        power = PowerLevels.from_state(state[CREATE_KEY], state[POWER_LEVELS_KEY], old.version)
        floor = max(50, (power.property_level("users_default") or 0) + 1)
        names = ("events_default", "invite")
        raised = {name: max(floor, power.property_level(name) or 0) for name in names}
        try:
            old.add(Draft(POWER_LEVELS, sender, {**state[POWER_LEVELS_KEY].content, **raised}, ""))
        except Forbidden:
            return tombstone
    return tombstone


def _levels(
    old_version: RoomVersion, version: RoomVersion, creators: Collection[str], state: Mapping[StateKey, Event]
) -> Content:
    """Return the new room's power levels: the old ones as integers, with creators as the new version
    requires.
    """
    power = PowerLevels.from_state(state[CREATE_KEY], state[POWER_LEVELS_KEY], old_version)
    content = dict(state[POWER_LEVELS_KEY].content)
    for name in DEFAULT_LEVELS:
        if name in content:
            level = power.property_level(name)
            content[name] = DEFAULT_LEVELS[name] if level is None else level
    for section in ("events", "notifications", "users"):
        if section in content:
            content[section] = power.entry_levels(section)
    users: dict[str, int] = dict(content.get("users", {}))
    if version.privileged_creators:
        content["users"] = {name: level for name, level in users.items() if name not in creators}
    else:
        # Creators, whose power was unlimited, may still do everything: version 12 has levels that only they
        # reached.
        named = [content[name] for name in DEFAULT_LEVELS if name in content]
        highest = max([CREATOR_LEVEL, *named, *content.get("events", {}).values(), *users.values()])
        for creator in creators_of(state[CREATE_KEY]):
            if power.user_level(creator) == INFINITE:
                users[creator] = highest
        content["users"] = users
    return content


def _move_aliases(sender: UserId, old_id: RoomId, new_id: RoomId) -> None:
    """Move this server's aliases to the new room, and the canonical ones into that room's state.

    The old room's state is changed last, so that a repetition after an interruption still finds there what to
    move.
    """
    for alias in directory.read_room_aliases(old_id):
        try:
            dynamodb.transact(directory.alias_move(alias, old_id, new_id))
        except ConditionFailed:
            # Another request has just deleted or moved it.
            continue
    canonical = Room.load(old_id).event(*CANONICAL_ALIAS_KEY)
    if canonical is None or not canonical.content:
        return
    if _add_missing(new_id, [Draft(CANONICAL_ALIAS, sender, canonical.content, "")]):
        _empty_canonical_alias(sender, old_id, canonical)


def _empty_canonical_alias(sender: UserId, room_id: RoomId, canonical: Event) -> None:
    """Remove the aliases from the old room's state, if the sender may and nobody changed them meanwhile."""

    def plan(batch: Append) -> None:
        current = batch.state([CANONICAL_ALIAS_KEY]).get(CANONICAL_ALIAS_KEY)
        if current is not None and current.event_id == canonical.event_id:
            batch.add(Draft(CANONICAL_ALIAS, sender, {}, ""))

    with suppress(Forbidden):
        append(room_id, plan)


def _transfer_children(sender: UserId, old_id: RoomId, new_id: RoomId) -> None:
    """Add a space's children to its replacement. Children that were removed there stay removed."""
    old = Room.load(old_id)
    create = old.event(*CREATE_KEY)
    if create is None or create.content.get("type") != SPACE:
        return
    drafts = [
        Draft(SPACE_CHILD, sender, entry.event.content, entry.event.state_key)
        for entry in room_items.read_state_of_type(old_id, old.version, SPACE_CHILD)
        if entry.event.content.get("via")
    ]
    for start in range(0, len(drafts), _AT_ONCE):
        if not _add_missing(new_id, drafts[start : start + _AT_ONCE]):
            return


def _transfer_bans(sender: UserId, old_id: RoomId, new_id: RoomId) -> None:
    """Ban from the new room the users who are banned from the old one, as far as the sender may.

    The bans have the same reasons.
    """
    version = Room.load(old_id).version
    bans = [
        Draft(MEMBER, sender, _ban_like(entry.event), entry.event.member_id)
        for entry in room_items.read_state_of_type(old_id, version, MEMBER)
        if entry.event.membership == "ban"
    ]
    for start in range(0, len(bans), _AT_ONCE):
        if not _add_missing(new_id, bans[start : start + _AT_ONCE]):
            return


def _ban_like(ban: Event) -> Content:
    reason = ban.content.get("reason")
    return {"membership": "ban", **({"reason": reason} if isinstance(reason, str) else {})}


def _add_missing(room_id: RoomId, drafts: Sequence[Draft]) -> bool:
    """Add state events, except for state that has been set in the room since.

    Returns whether that was allowed.

    A user's own join doesn't prevent their ban.
    """

    def plan(batch: Append) -> None:
        present = batch.state([(draft.type, draft.state_key or "") for draft in drafts])
        for draft in drafts:
            found = present.get((draft.type, draft.state_key or ""))
            if found is None or found.sender == draft.state_key:
                batch.add(draft)

    try:
        append(room_id, plan)
    except Forbidden:
        return False
    return True


def follow_upgrade(user_id: UserId, create: Event) -> None:
    """Copy a user's settings to the room they joined, if the old room's tombstone names it as its
    replacement.
    """
    old_id = _predecessor(create)
    head = room_items.read_head(old_id) if old_id is not None else None
    tombstone = Room(head).event(*TOMBSTONE_KEY) if head is not None else None
    if head is not None and tombstone and tombstone.content.get("replacement_room") == create.room_id:
        transfer_settings(user_id, head.room_id, create.room_id)


def transfer_settings(user_id: UserId, old_id: RoomId, new_id: RoomId) -> None:
    """Copy a user's tags and push rule of the old room to the new one, if that has none yet.

    The new room is added to the user's `m.direct` after the old one.
    """
    from murmuration import push_rules

    tags = account_data.read(user_id, old_id, TAG)
    if tags:
        account_data.change(user_id, new_id, TAG, lambda before: tags if before is None else None)
    if _with_room(account_data.read(user_id, "", DIRECT), old_id, new_id) is not None:
        account_data.change(user_id, "", DIRECT, lambda before: _with_room(before, old_id, new_id))
    try:
        rule = push_rules.get_push_rule(user_id, "room", old_id)
    except NotFound:
        return
    with suppress(NotFound):
        push_rules.get_push_rule(user_id, "room", new_id)
        return
    push_rules.set_push_rule(user_id, "room", new_id, {"actions": rule["actions"]})


def _with_room(direct: Content | None, old_id: str, new_id: str) -> Content | None:
    """Return an `m.direct` with the new room added beside the old one; None if that changes nothing."""
    changed = {
        user_id: [*room_ids, new_id]
        for user_id, room_ids in (direct or {}).items()
        if isinstance(room_ids, list) and old_id in room_ids and new_id not in room_ids
    }
    return {**(direct or {}), **changed} if changed else None

"""Creates a room: sends the events for the presets and parameters, in the specification's order.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields, object_of, required
from murmuration.protocol.encoding.shapes import Content, EventFields
from murmuration.protocol.errors import (
    BadAlias,
    BadJson,
    Forbidden,
    InvalidParam,
    InvalidRoomState,
    MalformedEvent,
    MatrixError,
    RoomInUse,
    Unavailable,
)
from murmuration.protocol.event_types import (
    AVATAR,
    CANONICAL_ALIAS,
    CREATE,
    ENCRYPTION,
    GUEST_ACCESS,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    MEMBER,
    NAME,
    POWER_LEVELS,
    POWER_LEVELS_KEY,
    SERVER_ACL,
    TOMBSTONE,
    TOPIC,
)
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.protocol.power_levels import CREATOR_LEVEL
from murmuration.protocol.room_versions import (
    DOMAIN_ROOM_VERSION,
    ROOM_VERSIONS,
    RoomVersion,
    get_room_version,
)
from murmuration.rooms.lifecycle import aliases
from murmuration.rooms.membership.invitees import check_invitees, refuse_addresses
from murmuration.rooms.membership.member_content import member_content
from murmuration.rooms.membership.operations import checked_content
from murmuration.rooms.writing.append import Append, Draft, append
from murmuration.rooms.writing.content_checks import check_content
from murmuration.rooms.writing.sending import check_state_type, named_aliases
from murmuration.rooms.writing.transactions import Claim
from murmuration.settings import settings
from murmuration.storage.live.streams import pause
from murmuration.storage.rooms import directory, member_index

if TYPE_CHECKING:
    from murmuration.rooms.json_types import PowerLevelsContent

ATTEMPTS = 20
MAX_INVITES = 100
"""How many users may be invited with the creation of a room, because each of them is notified. More may be
invited later."""
MAX_INITIAL_STATE = 500
"""How many events `initial_state` may have, so that a request has the time for them."""
EVENTS_PER_TRANSACTION = 16
"""How many events are written in one transaction of up to a hundred writes. Each takes up to five: log,
pointer, state, membership, snapshot."""

_CREATE_TYPES: Mapping[str, type] = {"type": str, "m.federate": bool}
"""Types of properties of the create event, on which clients and servers would fail or differ."""

PRESETS: Mapping[str, tuple[tuple[str, Mapping[str, str]], ...]] = {
    name: (
        (JOIN_RULES, {"join_rule": join_rule}),
        (HISTORY_VISIBILITY, {"history_visibility": "shared"}),
        (GUEST_ACCESS, {"guest_access": guest_access}),
    )
    for name, join_rule, guest_access in (
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", "forbidden"),
    )
}


def default_version(*, old_clients: bool = False) -> str:
    """Return the room version to use if the creator names none.

    `old_clients` chooses a version whose room IDs contain the server name: clients from before 2025 need
    that.
    """
    chosen = settings().default_room_version
    versions = list(ROOM_VERSIONS)
    newest = versions.index(DOMAIN_ROOM_VERSION if old_clients else versions[-1])
    return versions[min(versions.index(chosen), newest)]


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """createRoom's parameters, checked for type."""

    preset: str | None = None
    visibility: str = "private"
    name: str | None = None
    topic: str | None = None
    room_alias_name: str | None = None
    invite: Sequence[UserId] = ()
    is_direct: bool = False
    initial_state: Sequence[EventFields] = ()
    creation_content: Content = field(default_factory=dict)
    power_level_content_override: Content = field(default_factory=dict)
    room_version: str | None = None

    @classmethod
    def from_body(
        cls, body: Fields, *, visibility: str = "private", for_old_clients: bool = False
    ) -> RoomRequest:
        """Parse the body of createRoom. `visibility` is the default visibility.

        `for_old_clients` chooses a default room version that old clients understand. Raises MissingParam,
        BadJson, ServerNotTrusted for invites by address.
        """
        refuse_addresses(body.objects("invite_3pid"))
        initial_state = [
            {
                "type": event.string("type"),
                "state_key": event.string("state_key") if "state_key" in event.values else "",
                "content": object_of(required(event.values, "content"), "content"),
            }
            for event in body.objects("initial_state")
        ]
        named, version = body.values.get("visibility") is not None, body.optional_string("room_version")
        return cls(
            preset=body.choice("preset", tuple(PRESETS)) if body.values.get("preset") is not None else None,
            visibility=body.choice("visibility", ("public", "private")) if named else visibility,
            name=body.optional_string("name"),
            topic=body.optional_string("topic"),
            room_alias_name=body.optional_string("room_alias_name"),
            invite=body.user_ids("invite"),
            is_direct=body.boolean("is_direct", False),
            initial_state=initial_state,
            creation_content=body.object("creation_content"),
            power_level_content_override=body.object("power_level_content_override"),
            room_version=version if version is not None else default_version(old_clients=for_old_clients),
        )

    def invited_here(self) -> list[UserId]:
        """Return the invited users of this server, each once."""
        return [user_id for user_id in dict.fromkeys(self.invite) if member_index.is_local(user_id)]

    @property
    def effective_preset(self) -> str:
        return self.preset or ("public_chat" if self.visibility == "public" else "private_chat")


def create_room(
    requester: Requester, request: RoomRequest, *, txn_id: str | None = None, elsewhere: bool = False
) -> RoomId:
    """Create the room, invite the users that the request names, and return the room ID.

    A repeated `txn_id` returns the same ID. With `elsewhere` the caller invites users of other servers;
    without it such invites are refused. Raises UnsupportedRoomVersion, RoomInUse for a taken alias,
    InvalidRoomState if the parts don't make a valid room, InvalidParam, LimitExceeded.
    """
    rate_limits.check("room_creation", requester.user_id)
    version = get_room_version(
        request.room_version if request.room_version is not None else default_version()
    )
    if request.effective_preset not in PRESETS:
        raise InvalidParam(f"preset must be one of {', '.join(PRESETS)}")
    _check_lengths(request)
    check_invitees(requester.user_id, request.invited_here() if elsewhere else request.invite)
    alias = _alias(request)
    drafts = list(_drafts(requester.user_id, request, version, alias))
    claim = Claim("create", requester, "", txn_id) if txn_id is not None else None
    try:
        if len(drafts) > EVENTS_PER_TRANSACTION:
            # build it first, so that an invalid room is refused before anything is written
            _build(version, drafts)
        room_id, is_new = _begin(
            requester.user_id, request, version, alias, drafts[:EVENTS_PER_TRANSACTION], claim
        )
        for start in range(EVENTS_PER_TRANSACTION, len(drafts), EVENTS_PER_TRANSACTION):
            part = Claim("create", requester, room_id, f"{txn_id}#{start}") if claim is not None else None
            if is_new or (part is not None and part.earlier() is None):
                _go_on(room_id, drafts[start : start + EVENTS_PER_TRANSACTION], part)
    except (Forbidden, MalformedEvent) as error:
        raise _invalid(error) from error
    return room_id


def _invalid(error: MatrixError) -> InvalidRoomState:
    return InvalidRoomState(f"A room with these parameters would not be valid: {error.message}")


def _begin(
    creator: UserId,
    request: RoomRequest,
    version: RoomVersion,
    alias: str | None,
    drafts: Sequence[Draft],
    claim: Claim | None,
) -> tuple[RoomId, bool]:
    """Write the room's first events. Returns its ID, and False if `claim` was used for a room before.

    From room version 12 on the ID is a hash of the create event: two rooms that a user creates within one
    millisecond would have the same ID. The second one is built again, a moment later.
    """
    for attempt in range(ATTEMPTS):
        batch = _build(version, drafts)
        batch.writes = _claims(batch.room_id, creator, request, alias)
        if claim is not None:
            batch.writes.append(claim.write(batch.room_id))
        try:
            batch.commit()
        except ConditionFailed as error:
            if claim is not None and (earlier := claim.earlier()) is not None:
                return RoomId(earlier), False
            if error.refused(directory.ALIAS):
                raise RoomInUse(f"The alias {alias} is taken") from error
            pause(attempt)
            continue
        return batch.room_id, True
    raise Unavailable("The room could not be created; try again")


def _build(version: RoomVersion, drafts: Sequence[Draft]) -> Append:
    fresh = "" if version.create_event_is_room_id else secrets.token_urlsafe(18)
    batch = Append(version, room_id=RoomId(f"!{fresh}:{settings().server_name}" if fresh else ""))
    for draft in drafts:
        batch.add(draft)
    return batch


def _go_on(room_id: RoomId, drafts: Sequence[Draft], claim: Claim | None) -> None:
    """Add more of the room's first events, once for a claim."""

    def plan(batch: Append) -> EventId:
        last = [batch.add(draft) for draft in drafts][-1]
        batch.writes = [claim.write(last.event_id)] if claim is not None else []
        return last.event_id

    def run() -> EventId:
        return append(room_id, plan)

    if claim is None:
        run()
    else:
        claim.settle(run)


def _claims(room_id: RoomId, creator: str, request: RoomRequest, alias: str | None) -> list[Write]:
    writes = directory.alias_writes(alias, room_id, creator) if alias is not None else []
    return [*writes, directory.publish_write(room_id)] if request.visibility == "public" else writes


def _alias(request: RoomRequest) -> str | None:
    if request.room_alias_name is None:
        return None
    alias = f"#{request.room_alias_name}:{settings().server_name}"
    if ":" in request.room_alias_name:
        raise InvalidParam("room_alias_name is an alias's local part, without # and :")
    aliases.require_new(alias)
    return alias


def _drafts(
    creator: UserId, request: RoomRequest, version: RoomVersion, alias: str | None
) -> Iterator[Draft]:
    def state(event_type: str, content: Content, state_key: str = "") -> Draft:
        return Draft(event_type, creator, content, state_key)

    given = {(event["type"], event.get("state_key", "")) for event in request.initial_state}
    yield state(CREATE, _create_content(creator, request, version))
    yield state(MEMBER, member_content(creator, "join"), creator)
    levels = _given_levels(creator, request, version)
    first = levels if levels is not None else _power_levels(creator, request, version)
    try:
        check_content(POWER_LEVELS, first, is_state=True)
    except BadJson as error:
        raise _invalid(error) from error
    yield state(POWER_LEVELS, first)
    if alias is not None:
        yield state(CANONICAL_ALIAS, {"alias": alias})
    for event_type, content in PRESETS[request.effective_preset]:
        if (event_type, "") not in given:
            yield state(event_type, content)
    for event in request.initial_state:
        event_type, state_key, content = event["type"], event.get("state_key", ""), event["content"]
        if levels is not None and (event_type, state_key) == POWER_LEVELS_KEY:
            continue
        check_state_type(event_type)
        if event_type == MEMBER:
            content = checked_content(creator, state_key, content, new_room=True)
        elif event_type == CANONICAL_ALIAS:
            _check_canonical_alias(content, alias)
        check_content(event_type, content, is_state=True)
        yield state(event_type, content, state_key)
    if request.name is not None:
        yield state(NAME, {"name": request.name})
    if request.topic is not None:
        topic = {"topic": request.topic, "m.topic": {"m.text": [{"body": request.topic}]}}
        yield state(TOPIC, topic)
    for user_id in request.invited_here():
        content = member_content(user_id, "invite", is_direct=request.is_direct)
        yield state(MEMBER, content, user_id)


def _check_lengths(request: RoomRequest) -> None:
    """Raise InvalidParam if the request asks for more than one request may do."""
    in_state = [event for event in request.initial_state if event["type"] == MEMBER]
    if len(request.invite) + len(in_state) > MAX_INVITES:
        raise InvalidParam(f"A room can be made with at most {MAX_INVITES} users: invite the others later")
    if len(request.initial_state) > MAX_INITIAL_STATE:
        raise InvalidParam(f"initial_state has at most {MAX_INITIAL_STATE} events")


def _check_canonical_alias(content: Content, alias: str | None) -> None:
    """Raise BadAlias for any alias other than `alias`, with which the room is created."""
    for named in named_aliases(content):
        if named != alias:
            raise BadAlias(f"{str(named)[:80]!r} does not point to this room")


def _create_content(creator: str, request: RoomRequest, version: RoomVersion) -> Content:
    given = {
        name: value
        for name, value in request.creation_content.items()
        if name != "creator" and not (name in _CREATE_TYPES and value is None)
    }
    for name, kind in _CREATE_TYPES.items():
        if name in given and not isinstance(given[name], kind):
            raise BadJson(f"{name} of creation_content must be a {'string' if kind is str else 'boolean'}")
    content = {**given, "room_version": version.id}
    if not version.implicit_room_creator:
        content["creator"] = creator
    if version.additional_creators and request.effective_preset == "trusted_private_chat":
        named = content.get("additional_creators", [])
        if not isinstance(named, list):
            raise InvalidParam("additional_creators must be a list of user IDs")
        content["additional_creators"] = list(dict.fromkeys([*named, *request.invite]))
    return content


def _given_levels(creator: UserId, request: RoomRequest, version: RoomVersion) -> Content | None:
    """Return the power levels of `initial_state` if they are to be the room's first, as with Synapse.

    The first power levels may raise the creator's own level. Power levels that lower it are sent after those
    of the preset, at their place in `initial_state`, because the creator has to send the events before them.
    """
    pieces = {(each["type"], each.get("state_key", "")): each["content"] for each in request.initial_state}
    given: Content | None = pieces.get(POWER_LEVELS_KEY)
    if given is None or version.privileged_creators:
        return given
    users = given.get("users")
    level = users.get(creator) if isinstance(users, dict) else None
    return given if isinstance(level, int) and level >= CREATOR_LEVEL else None


def _power_levels(creator: str, request: RoomRequest, version: RoomVersion) -> Content:
    trusted = request.invite if request.effective_preset == "trusted_private_chat" else ()
    users = {} if version.privileged_creators else dict.fromkeys((creator, *trusted), 100)
    defaults: PowerLevelsContent = {
        "users": users,
        "users_default": 0,
        "events": {
            NAME: 50,
            POWER_LEVELS: 100,
            HISTORY_VISIBILITY: 100,
            CANONICAL_ALIAS: 50,
            AVATAR: 50,
            TOMBSTONE: 150 if version.privileged_creators else 100,
            SERVER_ACL: 100,
            ENCRYPTION: 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if request.effective_preset == "public_chat" else 0,
        "historical": 100,
    }
    return {**defaults, **request.power_level_content_override}

"""Decides who may see whose presence, and which state they see."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws.reads import Batch
from murmuration.clock import now_ms
from murmuration.protocol.errors import Forbidden, NotFound
from murmuration.protocol.identifiers import UserId, parse_user_id
from murmuration.protocol.presence import Presence
from murmuration.settings import settings
from murmuration.storage.rooms import member_index
from murmuration.storage.servers import remote_presence
from murmuration.storage.users import accounts, memberships, presence, presence_lists, profiles

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent


@dataclass(frozen=True, slots=True)
class Seen:
    """A user's presence with the profile fields that go with it."""

    user_id: UserId
    presence: Presence
    profile: Mapping[str, str]

    def event(self, state: str, at_ms: int) -> ClientEvent:
        """Return the `m.presence` event that shows the user in `state`."""
        content = {**self.presence.content(state, at_ms), **self.profile}
        return {"type": "m.presence", "sender": self.user_id, "content": content}


def look_at(user_ids: Collection[UserId]) -> list[Seen]:
    """Return the presence of these users, without checking who may see it. One round trip."""
    if not user_ids:
        return []
    wanted = sorted(user_ids)
    batch = Batch()
    stored = batch.add_all([presence.presence_read(user_id) for user_id in wanted])
    fields = batch.add_all([profiles.member_fields_read(user_id) for user_id in wanted])
    batch.fetch()
    return [
        Seen(user_id, theirs.value, shown.value)
        for user_id, theirs, shown in zip(wanted, stored, fields, strict=True)
    ]


def get_status(viewer: UserId, user_id: UserId) -> tuple[Presence, str]:
    """Return a user's presence, and the state in which the viewer sees it.

    Raises NotFound, InvalidParam, Forbidden.
    """
    at_home = parse_user_id(user_id).server_name == settings().server_name
    is_known = accounts.read_account(user_id) is not None if at_home else settings().federated_presence
    if not is_known:
        raise NotFound("There is no such user here")
    if not (may_see if at_home else may_see_remote)(viewer, user_id):
        raise Forbidden(
            "You may see the presence only of users who share a room with you or who have allowed it"
        )
    seen = presence.from_item(presence.read(user_id))
    now = now_ms()
    return seen, seen.own(now) if viewer == user_id else seen.shown(now)


def may_see_remote(viewer: UserId, user_id: UserId) -> bool:
    """Return whether a user is in one of the small rooms whose local members see a remote user's presence."""
    noted = remote_presence.read_rooms([user_id]).get(user_id, [])
    own = memberships.read_joined_rooms(viewer) if noted else ()
    return bool(member_index.rooms_joined_by(user_id, set(noted) & set(own)))


def may_see(viewer: UserId, user_id: UserId) -> bool:
    """Return whether a user may see another's presence: they share a room, or the other one granted it."""
    if viewer == user_id or presence_lists.is_granted(viewer, user_id):
        return True
    own, others = (
        {row.room_id for row in memberships.read_memberships(each) if row.membership == "join"}
        for each in (viewer, user_id)
    )
    return not own.isdisjoint(others)

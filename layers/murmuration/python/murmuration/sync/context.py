"""Facts that the parts of one sync share."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from murmuration.aws.dynamodb import Item
from murmuration.cache import LruCache
from murmuration.identity.tokens import Requester
from murmuration.protocol.filters import SyncFilter
from murmuration.protocol.push_rules.conditions import Matcher, compile_condition
from murmuration.protocol.push_rules.evaluation import CompiledRuleset, compile_ruleset
from murmuration.protocol.push_rules.ruleset import Changes, ruleset_of
from murmuration.rooms.reading.visibility import Viewer, make_viewer
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import Positions, RoomPosition, room_hash
from murmuration.storage.users.memberships import Membership
from murmuration.sync.readers import Reader
from murmuration.sync.unread.rule_digests import Outdated

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId
    from murmuration.sync.readers.json_types import DeviceListsSection

StateAfter = Literal["", "state_after", "org.matrix.msc4222.state_after"]
"""The section for the state after the timeline, by the name that the client knows; "" if the client wants the
state before the timeline."""
_rules: LruCache[tuple[str, str], CompiledRuleset] = LruCache(128)
"""Compiled push rules by user and the user's changes of them."""


@dataclass
class Context:
    """The facts of one sync: the requester, the request, what they have seen (`base`, None at first), and the
    time.

    `room_data` are the changed items of the user's stream that belong to a room, by room ID. `reader` makes
    the rooms' sections. `outdated` are the rooms whose unread events were counted by other rules than the
    current ones. With `takes_text`, parts of the answer may be `RawJson`.
    """

    requester: Requester
    filter: SyncFilter
    base: Positions | None
    now_ms: int
    push_changes: Changes
    reader: Reader
    full_state: bool = False
    state_after: StateAfter = ""
    ignored: frozenset[str] = frozenset()
    room_data: Mapping[str, list[Item]] = field(default_factory=dict)
    outdated: Outdated = field(default_factory=Outdated)
    takes_text: bool = False

    @property
    def user_id(self) -> UserId:
        return self.requester.user_id

    def hash(self, room_id: RoomId) -> str:
        return room_hash(self.user_id, room_id)

    def position(self, room_id: RoomId) -> RoomPosition | None:
        """Return the client's position in a joined room; None if the room wasn't shown yet."""
        return self.base.rooms.get(self.hash(room_id)) if self.base is not None else None

    def viewer(self, membership: Membership, room: Room) -> Viewer:
        """Return the user as a viewer of a room."""
        return make_viewer(
            self.user_id,
            self.requester.device_id,
            membership,
            room.version,
            ignored=self.ignored,
            erasures=room.head.erasures,
        )

    @functools.cached_property
    def as_beginner(self) -> Context:
        """The same context for a client that has seen nothing, with all items of the user."""
        return replace(self, base=None)

    @functools.cached_property
    def push_rules(self) -> CompiledRuleset:
        key = self.user_id, json.dumps(self.push_changes, sort_keys=True) if self.push_changes else ""
        found = _rules.get(key)
        if found is None:
            found = compile_ruleset(ruleset_of(self.user_id, self.push_changes))
            _rules.put(key, found)
        return found

    @functools.cached_property
    def member_count_conditions(self) -> list[Matcher]:
        """The conditions of the user's push rules that depend on a room's number of members."""
        return [
            compile_condition(condition)
            for rules in ruleset_of(self.user_id, self.push_changes).values()
            for rule in rules
            for condition in rule.get("conditions", ())
            if condition.get("kind") == "room_member_count"
        ]


@dataclass
class DeviceLists:
    """Users whose devices the client should fetch again, and users whose devices it can forget."""

    changed: set[UserId] = field(default_factory=set)
    left: set[UserId] = field(default_factory=set)

    def __ior__(self, other: DeviceLists) -> DeviceLists:
        self.changed |= other.changed
        self.left |= other.left
        return self

    def as_json(self) -> DeviceListsSection:
        return {"changed": sorted(self.changed), "left": sorted(self.left - self.changed)}


def state_after_of(stable: bool, unstable: bool) -> StateAfter:
    """Return the section for the state after the timeline, if a client asks for it by one of the names."""
    if stable:
        return "state_after"
    return "org.matrix.msc4222.state_after" if unstable else ""

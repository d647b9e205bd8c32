"""History visibility: which events of a room a user may see.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from murmuration.protocol.encoding.shapes import Content, EventFields
from murmuration.protocol.event_types import HISTORY_VISIBILITY_KEY, MEMBER

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

Visibility: TypeAlias = Literal["world_readable", "shared", "invited", "joined"]

DEFAULT_VISIBILITY: Final[Visibility] = "shared"

_VISIBILITIES: Final[tuple[Visibility, ...]] = get_args(Visibility)


def visibility_of(content: Content | None) -> Visibility:
    """Return the visibility in the content of an `m.room.history_visibility` event; "shared" if missing or
    unknown.
    """
    value = content.get("history_visibility") if content is not None else None
    return next((known for known in _VISIBILITIES if known == value), DEFAULT_VISIBILITY)


def may_see(visibility: Visibility, membership: str | None, *, joined_later: bool) -> bool:
    """Return whether a user may see events from when the room had this visibility and the user this
    membership.

    `joined_later`: whether they joined at any point after the event, even if they have left again.
    """
    # The specification's rules 1 to 5.
    return (
        visibility == "world_readable"
        or membership == "join"
        or (visibility == "shared" and joined_later)
        or (membership == "invite" and visibility == "invited")
    )


def may_see_event(
    event: EventFields,
    user_id: UserId,
    *,
    visibility_before: Visibility,
    membership_before: str | None,
    joined_later: bool,
) -> bool:
    """Return whether the user may see `event` (a PDU or client event), given the room's state before it.

    Events that change the visibility or the user's own membership may be seen if the state before or the
    state after allows it.
    """
    visibilities: list[Visibility] = [visibility_before]
    memberships = [membership_before]
    changed = (event.get("type"), event.get("state_key"))
    if changed == HISTORY_VISIBILITY_KEY:
        visibilities.append(visibility_of(event["content"]))
    elif changed == (MEMBER, user_id):
        memberships.append(event["content"].get("membership"))
    return any(
        may_see(visibility, membership, joined_later=joined_later)
        for visibility, membership in product(visibilities, memberships)
    )


def server_may_see(visibility: Visibility, memberships: Iterable[str | None]) -> bool:
    """Return whether a server that takes part in the room may be given an event.

    `memberships` are those that the server's users had at the event.
    """
    # Its users who join later may see "shared" history, so the server may fetch it.
    return visibility in ("world_readable", "shared") or any(
        may_see(visibility, membership, joined_later=False) for membership in memberships
    )

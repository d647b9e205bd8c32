"""What a client asks for in a sync."""

from __future__ import annotations

from dataclasses import dataclass

from murmuration.identity.tokens import AccessToken
from murmuration.sync.context import StateAfter
from murmuration.sync.readers import Reader
from murmuration.sync.readers.sections import SYNC


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The parameters of a sync. `filter` is a filter's ID or its JSON. `set_presence` is the presence to
    record for this device; None if the API has no such parameter.

    Without `to_device` no to-device message is read or deleted. The `reader` makes the rooms' sections. A
    `whole` answer has all rooms: those that don't fit are only named (`sync.assembly.rooms`). With
    `takes_text` the answer may contain `RawJson`. With a `fingerprint` (`marks.fingerprint`) the client may
    get a marked token, with which it waits without a function. With `names_place` the token of a client that
    is held may name where it waited (`marks.held_place`). `state_after` is the name of the section for the
    state after the timeline, if the client wants that.
    """

    token: AccessToken
    since: str | None = None
    filter: str | None = None
    full_state: bool = False
    state_after: StateAfter = ""
    timeout_ms: int = 0
    fingerprint: str = ""
    names_place: bool = False
    set_presence: str | None = "online"
    to_device: bool = True
    reader: Reader = SYNC
    whole: bool = False
    takes_text: bool = False

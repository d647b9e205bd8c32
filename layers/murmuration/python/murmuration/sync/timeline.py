"""The newest part of a room's log that a client hasn't seen, and the state before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from murmuration.protocol import state_trie
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.sizes import Budget, json_bytes
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.reading.past_state import read_state_events
from murmuration.rooms.reading.visibility import Seen
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items, snapshots
from murmuration.storage.rooms.room_items import LogEntry

DEFAULT_LIMIT = 10
MAXIMUM_LIMIT = 100
PAGES = 5
"""How many pages a sync reads for a filter that few events pass; after that the timeline is `limited`."""
SCANNED_AT_ONCE = 100
"""The number of events in each further page: the first page had too few events that pass the filter."""

STRETCH_BYTES = 1_500_000
"""The maximum size of one room's events in an answer of another API than /sync."""

Visible = Callable[[Sequence[LogEntry]], Sequence[Seen]]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the log: the events to show, oldest first, with the viewer's membership at each.

    `start` is the first ordinal of the part, `root` the snapshot of the state before it. `limited` says that
    events between those shown before and this part are left out or missing. `passed` are all events of the
    part, including those that the filter left out.
    """

    seen: tuple[Seen, ...]
    start: int
    root: NodeId
    limited: bool
    passed: tuple[LogEntry, ...]

    @property
    def entries(self) -> list[LogEntry]:
        return [entry for entry, _ in self.seen]

    @property
    def before_first(self) -> int:
        """The ordinal right before the first event shown."""
        return (self.seen[0].entry.ordinal if self.seen else self.start) - 1


def read_window(
    room: Room, after: int | None, before: int, event_filter: EventFilter, visible: Visible
) -> Window:
    """Return the newest entries with `after` < ordinal < `before` that the filter admits, up to its limit.

    Pages after the first are large, so that a few admitted events among many others are found quickly.
    """
    limit = event_filter.limit_within(default=DEFAULT_LIMIT, maximum=MAXIMUM_LIMIT)
    shown: list[Seen] = []
    passed: list[LogEntry] = []
    cursor, exhausted = before, False
    first = room.head.oldest if after is None else after + 1
    for number in range(PAGES):
        if number == 0:
            page = room_items.read_log(
                room.room_id, room.version, after=after, before=cursor, limit=limit + 1, forward=False
            )
        else:  # at most 1 MB
            at_once = max(limit + 1, SCANNED_AT_ONCE * number)
            page = room_items.read_log_page(
                room.room_id, room.version, after=after, before=cursor, limit=at_once, forward=False
            )
        allowed = {one.entry.ordinal: one for one in visible(page)}
        for entry in page:
            one = allowed.get(entry.ordinal)
            if one is not None and event_filter.matches(one.entry.event.pdu, entry.room_id):
                if len(shown) == limit:
                    return _window(room, shown, passed, limited=True, before=before)
                shown.append(one)
            passed.append(entry)
            cursor = entry.ordinal
            if entry.after_gap:
                # Earlier events aren't known, or arrived later: clients fetch them from here.
                return _window(room, shown, passed, limited=True, before=before)
        if not page or cursor <= first or (number == 0 and len(page) <= limit):
            exhausted = True
            break
    return _window(room, shown, passed, limited=not exhausted, before=before)


def _window(
    room: Room, shown: Sequence[Seen], passed: Sequence[LogEntry], *, limited: bool, before: int
) -> Window:
    """Return the window. `shown` and `passed` come newest first."""
    first = (shown[-1].entry if limited and shown else passed[-1]) if passed else None
    return Window(
        seen=tuple(reversed(shown)),
        start=first.ordinal if first else before,
        root=first.current_root if first else root_before(room, before),
        limited=limited,
        passed=tuple(reversed(passed)),
    )


def root_before(room: Room, ordinal: int) -> NodeId:
    """Return the snapshot of the state right before an ordinal. Reads unless it is the one after the head."""
    if ordinal > room.head.ordinal:
        return room.head.state_root
    following = room_items.read_next(room.room_id, room.version, ordinal - 1)
    return following.current_root if following is not None else room.head.state_root


def count_within(seen: Sequence[Seen], most_bytes: int = STRETCH_BYTES) -> int:
    """Return how many of the events, from the first on, fit into this many bytes; at least one."""
    budget = Budget(most_bytes)
    for count, (entry, _) in enumerate(seen):
        kept = (entry.replaced, entry.redacted_because)
        if not budget.take(len(entry.event.to_json()) + sum(json_bytes(each) for each in kept if each)):
            return count
    return len(seen)


def newest_of(window: Window, count: int) -> Window:
    """Return the window with only its newest `count` shown events."""
    if count >= len(window.seen):
        return window
    first = window.seen[-count].entry
    return Window(
        seen=window.seen[-count:],
        start=first.ordinal,
        root=first.current_root,
        limited=True,
        passed=tuple(entry for entry in window.passed if entry.ordinal >= first.ordinal),
    )


def tell_resolutions(room: Room, window: Window) -> tuple[Window, dict[StateKey, Event]]:
    """Return the window changed to end with the current state, and state events that no window has.

    Clients take the last state event shown for the current one. If forks were resolved otherwise, the window
    begins after that event and is `limited`; the other changes of the resolution are the second value.
    """
    if not any(entry.resolved for entry in window.passed):
        return window, {}
    fetch = snapshots.fetch_from(room.room_id)
    told = {pair: entry for entry in window.passed if (pair := entry.event.state_pair) is not None}
    current = state_trie.get(room.head.state_root, told, fetch)
    misleading = [entry.ordinal for pair, entry in told.items() if current.get(pair) != entry.event.event_id]
    if misleading:
        cut = max(misleading)
        passed = tuple(entry for entry in window.passed if entry.ordinal > cut)
        window = Window(
            seen=tuple(seen for seen in window.seen if seen.entry.ordinal > cut),
            start=cut + 1,
            root=passed[0].current_root if passed else room.head.state_root,
            limited=True,
            passed=passed,
        )
    changes = state_trie.diff(window.root, room.head.state_root, fetch)
    shown = {entry.event.state_pair for entry in window.passed}
    untold = {pair: new for pair, (_, new) in changes.items() if new is not None and pair not in shown}
    return window, read_state_events(room, untold)


def unshown_state(window: Window, members: Collection[str] | None = None) -> dict[StateKey, Event]:
    """Return the newest state within the window whose events the filter left out.

    With `members`, only these users' membership events are included.
    """
    shown = {entry.event.event_id for entry in window.entries}
    newest: dict[StateKey, Event] = {}
    for entry in window.passed:
        if (pair := entry.event.state_pair) is not None:
            newest[pair] = entry.event
    return {
        pair: event
        for pair, event in newest.items()
        if event.event_id not in shown and (members is None or pair[0] != MEMBER or pair[1] in members)
    }


def state_delta(room: Room, after: int, root: NodeId) -> dict[StateKey, Event]:
    """Return the state that changed between the ordinal `after` and the snapshot `root`."""
    return state_changes(room, after, root)[0]


def state_changes(room: Room, after: int, root: NodeId) -> tuple[dict[StateKey, Event], frozenset[StateKey]]:
    """Return the result of `state_delta`, and the pairs that are gone: a resolution of forks may remove
    state.
    """
    following = room_items.read_next(room.room_id, room.version, after)
    if following is None or following.current_root == root:
        return {}, frozenset()
    changes = state_trie.diff(following.current_root, root, snapshots.fetch_from(room.room_id))
    new = {pair: event_id for pair, (_, event_id) in changes.items() if event_id is not None}
    return read_state_events(room, new), frozenset(changes.keys() - new.keys())

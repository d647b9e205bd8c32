"""The attributes that ended waits leave in a user's listeners. Each write of the item removes a few
of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms
from murmuration.storage.live.compact.stored_waits import names, until_of

OVER_S = 900
"""How long after its end a wait stays in the item. It shows that its queue exists."""
LIFETIME_S = 10_800
"""How long an item stays after its last change: longer than any client waits without registering again."""
WAIT, SOCKET, LAST, NEWS = "w#", "s#", "l#", "r#"
"""The prefixes of the attributes' names."""


def leftovers_of(item: StoredItem | None, but: str = "") -> dict[str, int]:
    """Return a few registrations that ended some time ago. Removing them keeps the item small."""
    now = now_ms() // 1000
    old = {
        name: until_of(value)
        for name, value in (item or {}).items()
        if (name.startswith(WAIT) and name != but and until_of(value) < now - OVER_S)
        or (name.startswith(SOCKET) and value["until"] < now - LIFETIME_S)
    }
    return dict(list(old.items())[:4])


@dataclass(frozen=True, slots=True)
class Removal:
    """The parts of a write that removes attributes of an item: all or none of them, and only if they are
    unchanged.
    """

    parts: Sequence[str]
    condition: str
    names: Mapping[str, str]
    values: Mapping[str, int]


def removal_of(leftovers: Mapping[str, int]) -> Removal:
    """Return the removal of these leftovers. It is refused if one of them was registered again."""
    numbers = range(len(leftovers))
    return Removal(
        parts=[f"#old{number}" for number in numbers],
        condition="".join(
            f" AND (#old{number}[0] = :until{number} OR #old{number}.#until = :until{number})"
            for number in numbers
        ),
        names={f"#old{number}": name for number, name in enumerate(leftovers)}
        | (names("until") if leftovers else {}),
        values={f":until{number}": until for number, until in enumerate(leftovers.values())},
    )


def traces_of(item: StoredItem | None) -> list[str]:
    """Return a few names of attributes about devices without a wait. They can be removed at any time."""
    item = item or {}
    there = {name.split("#", 2)[2] for name in item if name.startswith(WAIT)}
    return [name for name in item if name.startswith((LAST, NEWS)) and name[2:] not in there][:4]

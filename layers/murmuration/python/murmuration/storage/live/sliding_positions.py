"""The positions of sliding sync's connections: each `pos` names one stored row, which never changes.

A connection has a few rows. An answer that moves it overwrites a row that isn't needed any more, so the
number and size of the rows don't grow. `generation` orders the rows of a connection: an answer's generation
is one more than that of the row which its request named. Only rows with a generation before the request's are
overwritten. So a row stays until its client has used a later one, however often the client repeats a request.

A device has a few connections. One item says which `conn_id` has which number. If there are too many, a new
connection takes the number of the oldest one, whose client has to start again.
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem
from murmuration.clock import now_ms
from murmuration.protocol.errors import InvalidParam, Unavailable, UnknownPos
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.live import token_forms
from murmuration.storage.live.positions import Positions, room_hash

TABLE = "sync-tokens"
LIFETIME_S = 30 * 86_400
CONNECTIONS = 8
"""How many connections a device may have."""
ROWS = 6
"""How many rows of a connection are kept at a time."""
MOST_BYTES = 300_000
"""The maximum size of a row. A room that doesn't fit is shown to the client again as if for the first
time."""
MOST_CONFIGS = 8
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of a joined room that a client has, in addition to its position.

    The client has the newest `limit` events, or all events if it `is_whole`. Its state is that of
    `state_version`, reduced to the required state with the number `config`. `is_behind`: the user's data
    about the room may have changed while the client didn't see the room. `is_miscounted`: data on which its
    unread counts depend may have changed then too.
    """

    limit: int
    config: int
    state_version: int
    is_dm: bool = False
    is_whole: bool = False
    is_behind: bool = False
    is_miscounted: bool = False


@dataclass(frozen=True, slots=True)
class KeyPosition:
    """Up to where a room was read for changes of its members' devices. `ordinal` is that of its state
    version.
    """

    ordinal: int
    seq: int
    state_version: int


@dataclass(slots=True)
class ConnectionState:
    """Everything that the client of a connection has been shown.

    `positions` are those of the joined rooms that it was shown, and of the user's stream. `shown` has one
    entry for each of these rooms. `key_rooms` are all joined rooms; None before the client asks for changes
    of devices. `counts` are the lists' counts in the last answer. `account_data_from` is the type from which
    account data has still to be shown; None if the client has all. `written_ms` is when this was stored.
    """

    positions: Positions = field(default_factory=Positions)
    shown: dict[str, Shown] = field(default_factory=dict)
    configs: dict[int, str] = field(default_factory=dict)
    key_rooms: dict[str, KeyPosition] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    account_data_from: str | None = ""
    written_ms: int = 0

    def copy(self) -> ConnectionState:
        """Return a copy that can be changed without changing this one."""
        return replace(
            self,
            positions=self.positions.copy(),
            shown=dict(self.shown),
            configs=dict(self.configs),
            key_rooms=dict(self.key_rooms) if self.key_rooms is not None else None,
            counts=dict(self.counts),
        )

    def config_number(self, config: str) -> int:
        """Return the number of a required state, and store it. If there are too many, the oldest is
        dropped.
        """
        for number, known in self.configs.items():
            if known == config:
                return number
        number = max(self.configs, default=0) + 1
        self.configs[number] = config
        while len(self.configs) > MOST_CONFIGS:
            del self.configs[min(self.configs)]
        return number

    def forget(self, name: str) -> None:
        """Forget a room by its hash, so that it is shown to the client as if for the first time."""
        self.positions.rooms.pop(name, None)
        self.positions.typing_until_ms.pop(name, None)
        self.shown.pop(name, None)

    def dump(self) -> bytes:
        """Return the compact form to store. If it is too large, the rooms that were shown longest ago are
        left out.
        """
        data = self._dump()
        while len(data) > MOST_BYTES and self.positions.rooms:
            names = list(self.positions.rooms)
            for name in names[: len(names) // 8 + 1]:
                self.forget(name)
            data = self._dump()
        return data

    def _dump(self) -> bytes:
        shown = [
            [
                name,
                one.limit,
                one.config,
                one.state_version,
                one.is_dm | one.is_whole << 1 | one.is_behind << 2 | one.is_miscounted << 3,
            ]
            for name, one in self.shown.items()
        ]
        keys = None
        if self.key_rooms is not None:
            keys = [[name, one.ordinal, one.seq, one.state_version] for name, one in self.key_rooms.items()]
        fields = [
            self.positions.as_fields(),
            shown,
            list(self.configs.items()),
            keys,
            self.counts,
            self.account_data_from,
        ]
        return zlib.compress(json.dumps(fields, separators=(",", ":")).encode())

    @classmethod
    def load(cls, data: bytes, written_ms: int) -> ConnectionState:
        """Return the state that `dump` encoded."""
        positions, shown, configs, keys, counts, account_data_from = json.loads(zlib.decompress(data))
        return cls(
            positions=Positions.from_fields(positions),
            shown={
                name: Shown(*numbers, *(bool(flags & bit) for bit in (1, 2, 4, 8)))
                for name, *numbers, flags in shown
            },
            configs=dict(configs),
            key_rooms={name: KeyPosition(*numbers) for name, *numbers in keys} if keys is not None else None,
            counts=counts,
            account_data_from=account_data_from,
            written_ms=written_ms,
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """One of a device's connections: the client's name for it, and its number."""

    user_id: UserId
    device_id: DeviceId
    conn_id: str
    number: int

    def row_key(self, row_number: int) -> dict[str, str]:
        return {"user_id": self.user_id, "token": f"{_prefix(self.device_id)}{self.number}.{row_number}"}


@dataclass(frozen=True, slots=True)
class Place:
    """A stored row: its connection, its number there, and its content. `pos` is the plain form."""

    connection: Connection
    row_number: int
    generation: int
    pos: str
    state: ConnectionState


# -- Positions -------------------------------------------------------------------------------------------


def row_key(user_id: UserId, device_id: DeviceId, pos: str) -> dict[str, str]:
    """Return the key of the row that a `pos` of any form names. Raises UnknownPos for any other text."""
    number, row_number, _ = _named(pos)
    return Connection(user_id, device_id, "", number).row_key(row_number)


def place_of(row: Item | None, user_id: UserId, device_id: DeviceId, conn_id: str, pos: str) -> Place:
    """Return the place that a device's `pos` names; `row` is its stored row. Raises UnknownPos."""
    number, row_number, nonce = _named(pos)
    if (
        row is None
        or row["expires"] <= now_ms() // 1000
        or (row["nonce"], row["conn_id"]) != (nonce, conn_id)
    ):
        raise _unknown()
    connection = Connection(user_id, device_id, conn_id, number)
    state = ConnectionState.load(row["state"], row["generation_ms"])
    return Place(connection, row_number, row["generation"], _plain(number, row_number, nonce), state)


def _named(pos: str) -> tuple[int, int, str]:
    """Return the connection's number, the row's number and the nonce in a `pos`. Raises UnknownPos."""
    found = token_forms.POS.fullmatch(pos)
    if found is None:
        raise _unknown()
    number, row_number, nonce = (found[name] or found[f"{name}_2"] for name in ("number", "row", "nonce"))
    return int(number), int(row_number), nonce


def _plain(number: int, row_number: int, nonce: str) -> str:
    return f"{token_forms.PLAIN_POS}{number}.{row_number}.{nonce}"


def room_position(user_id: UserId, device_id: DeviceId, pos: str, room_id: RoomId) -> int | None:
    """Return the ordinal up to which the client at a device's `pos` has seen a room's log.

    None if the row has no position in the room. Raises InvalidParam for an unknown `pos`.
    """
    try:
        row = dynamodb.get(TABLE, row_key(user_id, device_id, pos))
        place = place_of(row, user_id, device_id, str((row or {}).get("conn_id")), pos)
    except UnknownPos as error:
        raise InvalidParam("The token is not known") from error
    position = place.state.positions.rooms.get(room_hash(user_id, room_id))
    return position.ordinal if position is not None else None


def _unknown() -> UnknownPos:
    return UnknownPos("The server no longer knows this pos: begin a new connection, without pos")


def write(connection: Connection, base: Place | None, state: ConnectionState) -> str:
    """Store the state after an answer to a request that named `base`, and return the new `pos`.

    This is one write, unless earlier answers to the same request were lost. Raises UnknownPos if the client
    has used a later `pos` meanwhile and no row is free: it doesn't wait for this answer any more.
    """
    now = now_ms()
    nonce = secrets.token_urlsafe(9)
    generation = base.generation + 1 if base is not None else now
    first = (base.row_number + 1) % ROWS if base is not None else 0
    item = {
        "nonce": nonce,
        "conn_id": connection.conn_id,
        "device_id": connection.device_id,
        "generation": generation,
        "generation_ms": now,
        "state": state.dump(),
        "expires": now // 1000 + LIFETIME_S,
    }
    # Overwrite a row of an earlier generation; if all rows follow the same place, any of them.
    rows = [(number, generation - 1) for number in range(ROWS)]
    rows.append((secrets.randbelow(ROWS - 1), generation + 1))
    for number, limit in rows:
        row_number = (first + number) % ROWS
        try:
            dynamodb.execute(
                dynamodb.put(
                    TABLE,
                    {**connection.row_key(row_number), **item},
                    condition="attribute_not_exists(user_id) OR generation < :limit",
                    values={":limit": limit},
                )
            )
        except ConditionFailed:
            continue
        return _plain(connection.number, row_number, nonce)
    raise _unknown()


# -- Connections -----------------------------------------------------------------------------------------


def numbers_key(user_id: UserId, device_id: DeviceId) -> dict[str, str]:
    """Return the key of the item that says which connections a device has."""
    return {"user_id": user_id, "token": f"{_prefix(device_id)}numbers"}


def begin(user_id: UserId, device_id: DeviceId, conn_id: str, numbers: StoredItem | None) -> Connection:
    """Return the device's connection with this name; assign it a number if it has none.

    `numbers` is the item of `numbers_key`, as it was a moment ago. If the name has a number, nothing is
    written. Raises Unavailable.
    """
    for _ in range(_ATTEMPTS):
        taken = {
            int(name[1:]): value for name, value in (numbers or {}).items() if re.fullmatch(r"c\d", name)
        }
        known = next((number for number, value in taken.items() if value["conn_id"] == conn_id), None)
        if known is not None:
            return Connection(user_id, device_id, conn_id, known)
        free = [number for number in range(CONNECTIONS) if number not in taken]
        number = free[0] if free else min(taken, key=lambda each: int(taken[each]["since_ms"]))
        done, numbers = _claim(user_id, device_id, conn_id, number, taken.get(number))
        if done:
            return Connection(user_id, device_id, conn_id, number)
    raise Unavailable("Too many connections begin at once; try again")


def _claim(
    user_id: UserId, device_id: DeviceId, conn_id: str, number: int, before: StoredItem | None
) -> tuple[bool, Item | None]:
    now = now_ms()
    condition, values = "attribute_not_exists(#number)", {}
    if before is not None:
        condition, values = "#number.conn_id = :before", {":before": before["conn_id"]}
    try:
        dynamodb.execute(
            dynamodb.update(
                TABLE,
                numbers_key(user_id, device_id),
                "SET #number = :value, expires = :expires",
                names={"#number": f"c{number}"},
                values={
                    ":value": {"conn_id": conn_id, "since_ms": now},
                    ":expires": now // 1000 + LIFETIME_S,
                    **values,
                },
                condition=condition,
                return_old=True,
            )
        )
    except ConditionFailed as error:
        return False, error.item()
    return True, None


def end_all(user_id: UserId, device_id: DeviceId) -> None:
    """Delete a device's connections."""
    found = dynamodb.query(
        TABLE,
        "user_id = :user AND begins_with(#token, :prefix)",
        {":user": user_id, ":prefix": _prefix(device_id)},
        names={"#token": "token"},
        attributes=("user_id", "token"),
    )
    dynamodb.batch_write([dynamodb.delete(TABLE, key) for key in found])


def _prefix(device_id: DeviceId) -> str:
    """Return the prefix of the keys of a device's rows. No other device has the same."""
    digest = blake2b(device_id.encode(), digest_size=9).digest()
    return f"l_{urlsafe_b64encode(digest).decode()}."

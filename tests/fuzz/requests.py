"""Make requests from the recorded ones, with current identifiers, whole or spoilt."""

from __future__ import annotations

import base64
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode

from murmuration.endpoint import Function, http_routes
from replay.fixtures import event_paths
from tests.fuzz import values
from tests.fuzz.pools import BY_PARAMETER, Pools
from tests.fuzz.target import Sent
from tests.house import REPOSITORY

TYPES = (
    "application/json", "text/plain", "", "application/x-www-form-urlencoded", "image/png",
    "a/b;charset=é", "multipart/form-data; boundary=x", "text/html", "application/json; charset=utf-16",
    "x" * 300, "image/svg+xml",
)  # fmt: skip
HEADERS = (
    ("Accept", "text/html"), ("Accept-Encoding", "gzip"), ("Accept-Encoding", "gzip;q=x"),
    ("X-Forwarded-For", "é,,"), ("X-Forwarded-For", "::1, fe80::1%eth0"), ("Range", "bytes=0-1"),
    ("If-None-Match", "*"), ("Origin", "null"), ("Cookie", "a=b; c"), ("Content-Encoding", "gzip"),
    ("Accept-Language", "é"), ("X-HTTP-Method-Override", "PUT"), ("Accept", "\x80"),
    ("Content-Disposition", "attachment; filename=\x80"), ("User-Agent", "x" * 3000),
)  # fmt: skip
PIECES = (
    "%00", "%2F", "%ff", "%", "%zz", "%ed%a0%80", "..", ".", "%2e%2e", "é", "%C3%A9", "a" * 1200, "+",
    "%20", "%0a", "%25", "{roomId}", "%F0%9F%8E%89", ";", "'", '"', "%5C", "%E2%80%AE",
)  # fmt: skip
METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "get", "X")


@dataclass
class Actor:
    """Somebody who asks: logged in once or more."""

    user_id: str
    token: str
    device_id: str
    password: str


@dataclass(frozen=True)
class Picked:
    """Who asks, and of which room and event."""

    actor: Actor
    room: str
    event: str

    @property
    def user_id(self) -> str:
        return self.actor.user_id

    @property
    def device_id(self) -> str:
        return self.actor.device_id

    @property
    def password(self) -> str:
        return self.actor.password


@dataclass(frozen=True)
class Template:
    """A recorded request of a function, taken apart."""

    params: dict[str, str]
    query: list[tuple[str, str]]
    body: bytes
    content_type: str
    good: bool

    @property
    def value(self) -> Any:
        """The body's JSON; None for other bodies."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def templates() -> dict[str, list[Template]]:
    """Return the recorded requests, by the function's module."""
    found: dict[str, list[Template]] = defaultdict(list)
    root = REPOSITORY / "events_fixtures"
    for path in event_paths(root):
        event = json.loads(path.read_text())
        if "httpMethod" not in event:
            continue
        text = event.get("body") or ""
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
        every = event.get("multiValueQueryStringParameters") or {}
        module = ".".join(("functions", *path.relative_to(root).parent.parts))
        params = {name: unquote(value) for name, value in (event.get("pathParameters") or {}).items()}
        found[module].append(
            Template(
                params,
                [(name, value) for name, many in every.items() for value in many],
                body,
                (event.get("headers") or {}).get("Content-Type", ""),
                path.stem.startswith("good"),
            )
        )
    return found


@dataclass
class Maker:
    """Makes requests. The same dice, pools and actors give the same request."""

    functions: Sequence[Function]
    pools: Pools
    actors: list[Actor]
    routes: list[tuple[str, str, Function]] = field(init=False)
    recorded: dict[str, list[Template]] = field(init=False)

    def __post_init__(self) -> None:
        self.routes = list(http_routes(self.functions))
        self.recorded = templates()

    def usual(
        self, method: str, path: str, function: Function, template: Template, dice: random.Random
    ) -> Sent:
        """Return a request as a client may send it."""
        actor = self._pick(dice)
        target = self._path(path, function, template, actor, dice)
        query = [(name, self._parameter(name, value, actor, dice)) for name, value in template.query]
        value = template.value
        body = template.body if value is None else values.raw_json(self._current(value, actor, dice))
        return self._sent(method, target, query, body, template.content_type, actor.actor.token)

    def route(self, dice: random.Random) -> tuple[str, str, Function]:
        """Return any route, but seldom one that ends somebody's session."""
        while True:
            found = dice.choice(self.routes)
            if not ends_sessions(found[2]) or dice.random() < 0.05:
                return found

    def any(self, route: tuple[str, str, Function], dice: random.Random) -> Sent:
        """Return a request to a route: correct, wrong in one way, or wrong in many ways."""
        method, path, function = route
        recorded = self.recorded.get(function.module) or [Template({}, [], b"", "", True)]
        good = [each for each in recorded if each.good] or recorded
        template = dice.choice(good if dice.random() < 0.7 else recorded)
        faults = dice.choice((0, 0, 1, 1, 1, 2, 4))
        actor = self._pick(dice)
        ids = self.pools.some(dice)
        target = self._path(path, function, template, actor, dice)
        query = [(name, self._parameter(name, value, actor, dice)) for name, value in template.query]
        if dice.random() < 0.2:
            for _ in range(dice.randrange(1, 4)):
                query.append(self._more_query(actor, dice))
        token, kind, extra = actor.actor.token, template.content_type, []
        value: Any = template.value
        body = template.body
        if value is not None:
            value = self._current(value, actor, dice)
            if isinstance(value, dict) and method == "PUT" and dice.random() < 0.4:
                value = values.content(dice, ids) | (value if dice.random() < 0.3 else {})
        for _ in range(faults):
            what = dice.random()
            if what < 0.45 and value is not None:
                value = values.spoil(value, dice, ids)
            elif what < 0.55:
                query = self._spoiled_query(query, actor, dice)
            elif what < 0.68:
                target = self._spoiled_path(target, dice)
            elif what < 0.74:
                token = self._token(dice)
            elif what < 0.79:
                kind = dice.choice(TYPES)
            elif what < 0.87:
                extra.append(dice.choice(HEADERS))
            elif what < 0.89:
                method = dice.choice(METHODS)
            else:
                body = values.break_bytes(body if value is None else values.raw_json(value), dice)
                value = None
        if value is not None:
            body = values.raw_json(value)
        return self._sent(method, target, query, body, kind, token, extra)

    def frames(self, dice: random.Random) -> list[str | bytes]:
        """Return messages for a WebSocket."""
        ids = self.pools.some(dice)
        room = self.pools.any("room", dice, "!a")
        usual: Any = {
            "id": "1",
            "method": dice.choice(("send", "state", "ping")),
            "params": {
                "room_id": room,
                "event_type": dice.choice(values.event_types()),
                "state_key": "",
                "content": values.content(dice, ids),
            },
        }
        found: list[str | bytes] = []
        for _ in range(dice.randrange(1, 4)):
            message = usual if dice.random() < 0.3 else values.spoil(usual, dice, ids)
            raw = values.raw_json(message)
            found.append(values.break_bytes(raw, dice) if dice.random() < 0.2 else raw.decode())
        return found

    # -- Parts -------------------------------------------------------------------------------------------

    def _pick(self, dice: random.Random) -> Picked:
        """Return a user, usually with a room of their own and an event in it."""
        actor = dice.choice(self.actors)
        own = self.pools.rooms_of(actor.user_id)
        room = dice.choice(own) if own and dice.random() < 0.7 else self.pools.any("room", dice, "!x")
        events = self.pools.events.get(room)
        event = dice.choice(events) if events and dice.random() < 0.9 else self.pools.any("event", dice, "$x")
        return Picked(actor, room, event)

    def _current(self, value: Any, actor: Picked, dice: random.Random) -> Any:
        """Return a recorded value with current identifiers."""
        if isinstance(value, dict):
            alone = "password" in value and dice.random() < 0.6  # a stage that needs no session
            return {
                self._current(name, actor, dice): self._named(name, inner, actor, dice)
                for name, inner in value.items()
                if not (alone and name == "session")
            }
        if isinstance(value, list):
            return [self._current(inner, actor, dice) for inner in value]
        return self.pools.alike(value, dice) if isinstance(value, str) else value

    def _named(self, name: str, value: Any, actor: Picked, dice: random.Random) -> Any:
        if isinstance(value, str):
            match name:
                case "room_id":
                    return actor.room
                case "event_id" | "m.fully_read" | "m.read" if dice.random() < 0.9:
                    return actor.event
                case "password":
                    return actor.password
                case "session":
                    return self.pools.any("session", dice, value)
                case "user" if dice.random() < 0.9:
                    return actor.user_id
                case "user_id" if dice.random() < 0.7:
                    return dice.choice(self.actors).user_id
                case "device_id" if dice.random() < 0.7:
                    return actor.device_id
                case "refresh_token":
                    return self.pools.any("refresh", dice, value)
                case "username" | "new_password":
                    return f"u{dice.randrange(10**9)}" if name == "username" else actor.password
        return self._current(value, actor, dice)

    def _parameter(self, name: str, value: str, actor: Picked, dice: random.Random) -> str:
        """Return a path's or a query's parameter, with a current value of the kind that its name suggests."""
        kind = BY_PARAMETER.get(name)
        match kind:
            case None:
                return self.pools.alike(value, dice)
            case "room" if dice.random() < 0.9 and not (name == "roomIdOrAlias" and dice.random() < 0.5):
                return actor.room
            case "event" if dice.random() < 0.9:
                return actor.event
            case "user" if dice.random() < 0.8:
                return actor.user_id
            case "device" if dice.random() < 0.8:
                return actor.device_id
            case "txn":
                return f"t{dice.randrange(50)}"
            case "dir":
                return dice.choice(("b", "f"))
            case "timeout":
                return dice.choice(("0", value or "0"))
            case "state_key":
                return dice.choice((value, "", actor.user_id, "a"))
            case "type" if dice.random() < 0.5:
                return dice.choice(values.event_types())
            case "filter" if dice.random() < 0.3:
                return json.dumps({"room": {"timeline": {"limit": dice.choice((0, 1, 5, -1, "1"))}}})
            case "room" if name == "roomIdOrAlias" and dice.random() < 0.4:
                return self.pools.any("alias", dice, value)
            case _:
                return self.pools.any(kind, dice, value)

    def _path(
        self, path: str, function: Function, template: Template, actor: Picked, dice: random.Random
    ) -> str:
        parts = []
        for part in path.split("/"):
            if not part.startswith("{"):
                parts.append(part)
                continue
            name = part.strip("{}+")
            if name == "version":
                versions = getattr(function.route, "versions", ()) or ("v3",)
                parts.append(dice.choice(versions))
            else:
                value = self._parameter(name, template.params.get(name, "x"), actor, dice)
                parts.append(quote(value, safe="/" if part.endswith("+}") else ""))
        return "/".join(parts)

    def _more_query(self, actor: Picked, dice: random.Random) -> tuple[str, str]:
        name = dice.choice(
            (
                *BY_PARAMETER,
                "limit",
                "dir",
                "set_presence",
                "full_state",
                "access_token",
                "not_membership",
                "membership",
                "ts",
                "width",
                "height",
                "method",
                "format",
                "rel_type",
                "recurse",
                "include",
                "before",
                "after",
                "only",
                "url",
                "redirectUrl",
                "server_name",
                "server",
                "via",
                "use_state_after",
                "medium",
                "allow_redirect",
                "animated",
                dice.choice(values.words()),
            )
        )  # fmt: skip
        usual = self._parameter(name, dice.choice(("1", "0", "true", "10", "scale", "join")), actor, dice)
        return name, usual if dice.random() < 0.5 else values.text_of(values.strange(dice, [usual]))[:1500]

    def _spoiled_query(
        self, query: list[tuple[str, str]], actor: Picked, dice: random.Random
    ) -> list[tuple[str, str]]:
        changed = list(query)
        if changed and dice.random() < 0.6:
            at = dice.randrange(len(changed))
            name, value = changed[at]
            spoiled = values.text_of(values.strange(dice, [value]))[:1500]
            what = dice.random()
            if what < 0.2:
                changed.append((name, spoiled))
            elif what < 0.35:
                del changed[at]
            else:
                changed[at] = (name, dice.choice((spoiled, value + "x", value[:-1], value * 2)))
            return changed
        return [*changed, self._more_query(actor, dice)]

    def _spoiled_path(self, path: str, dice: random.Random) -> str:
        parts = path.split("/")
        at = dice.randrange(1, len(parts))
        if dice.random() < 0.8:
            at = max(at, min(5, len(parts) - 1))
        what = dice.random()
        if what < 0.4:
            parts[at] = dice.choice(PIECES)
        elif what < 0.5:
            parts[at] += dice.choice(PIECES)
        elif what < 0.8:
            text = values.strange(dice, self.pools.some(dice))
            parts[at] = quote(values.text_of(text).encode("utf-8", "replace"), safe="")[:2500]
        elif what < 0.9:
            parts[at] = ""
        else:
            parts.append("")
        return "/".join(parts)

    def _token(self, dice: random.Random) -> str:
        right = dice.choice(self.actors).token
        broken = dice.choice(
            (right[:-1], right + "a", right.swapcase(), right.replace(".", "..", 1), right[::-1])
        )
        other = values.text_of(values.strange(dice))[:300].replace("\n", "").replace("\r", "")
        return dice.choice(
            (right, broken, "", other, self.pools.any("access", dice), self.pools.any("refresh", dice))
        )

    def _sent(
        self, method: str, path: str, query: list[tuple[str, str]], body: bytes, kind: str, token: str,
        extra: Sequence[tuple[str, str]] = (),
    ) -> Sent:  # fmt: skip
        headers = list(extra)
        if kind:
            headers.append(("Content-Type", kind))
        if token:
            headers.append(("Authorization", f"Bearer {token}"))
        text = urlencode([(name, value.encode("utf-8", "replace")) for name, value in query])
        return Sent(method, f"{path}?{text}" if text else path, tuple(headers), body)


def ends_sessions(function: Function) -> bool:
    """Return whether a caller of this function may have no session afterwards."""
    return any(
        word in function.module for word in ("logout", "deactivate", "delete_device", "password", "revoke")
    )

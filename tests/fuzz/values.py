"""Values that clients have no reason to send, and ways to spoil JSON with them."""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from tests.house import PACKAGE, REPOSITORY, modules, tree

STRINGS: tuple[str, ...] = (
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\r\n", "\t", "é" * 200, "𝕏" * 90, "\u202e",
    "\ufeff", "a" * 255, "a" * 256, "a" * 3000, "a" * 70_000, "%", "%00", "%2F", "%zz", "..", "../..",
    "/", "//", "\\", "|", "!", "@", "$", "#", "!:", "@:", "#:", "$:", "@a:", "@:b", "!a:b:c",
    "@a:b:99999999", "@a:[::1]", "@A B:c", "#a:\x00", "mxc://", "mxc://a", "mxc://a/b/c", "true", "null",
    "NaN", "-1", "0", "9" * 30, "1e5", "0x10", "١٢", "²", "s1", "t1", "p_", "c_", "_", ".", "*", "?", "[",
    "{}", "[]", '{"a":1}', "key:", "m.", "m.room.message", "join", "leave", "ban", "invite", "knock",
    "\u0130", "\u00df", "ﬀ", "http://[", "https://a@b\\c", "javascript:a", "data:,", "https://\x00",
    "http://a:99999999/", "Bearer", "'", '"', "`", "-", "12", "11", "org.matrix.msc1",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -0.0, 1, -1, 2, 50, 99, 100, 101, 1000, 2**31, 2**53 - 1, 2**53, -(2**53), 2**63 - 1, 2**63, 2**64,
    -(2**63) - 1, 10**30, 10**4000, 1.5, -1.5, 1e16, 1e300, 1e-300, float("nan"), float("inf"),
    float("-inf"), 1e22,
)  # fmt: skip
MEMBERSHIPS: tuple[Any, ...] = ("join", "invite", "leave", "ban", "knock", "", "JOIN", None, 1, [], {})


def deep(levels: int) -> Any:
    """Return nested objects of this depth."""
    value: Any = {}
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


@cache
def words() -> tuple[str, ...]:
    """Return the identifiers among the constants of the source: names of fields, parameters, types."""
    found: set[str] = set()
    files = [path for _, path in modules(PACKAGE, "murmuration")]
    files += [path for _, path in modules(REPOSITORY / "functions", "functions")]
    for path in files:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if re.fullmatch(r"[A-Za-z][\w.:]{1,50}", node.value) else set()
    return tuple(sorted(found))


def text_of(value: Any) -> str:
    """Return a value in the form of a query."""
    return value if isinstance(value, str) else raw_json(value).decode()


@cache
def event_types() -> tuple[str, ...]:
    return tuple(word for word in words() if word.startswith(("m.room.", "m.", "org.")))


def strange(dice: random.Random, ids: Sequence[str] = ()) -> Any:
    """Return a random value of any type, sometimes one of `ids`."""
    kind = dice.random()
    if ids and kind < 0.2:
        return dice.choice(ids)
    if kind < 0.45:
        return dice.choice(STRINGS)
    if kind < 0.6:
        return dice.choice(NUMBERS)
    if kind < 0.7:
        return dice.choice((None, True, False))
    if kind < 0.78:
        return dice.choice(words())
    if kind < 0.86:
        return [strange(dice, ids) for _ in range(dice.choice((0, 1, 2, 5)))]
    if kind < 0.95:
        names = [dice.choice((*dice.sample(words(), 3), *dice.sample(STRINGS, 2))) for _ in range(3)]
        return {name: strange(dice, ids) for name in names[: dice.choice((0, 1, 3))]}
    return dice.choice((deep(5), deep(90), deep(200), deep(3000), list(range(1500)), {"a" * 70_000: 1}))


def content(dice: random.Random, ids: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of a random event, made of parts that the server reads."""

    def either(*usual: Any) -> Any:
        return dice.choice(usual) if dice.random() < 0.75 else strange(dice, ids)

    some = dice.choice(ids) if ids else "$a"
    power = either(0, 50, 100, "50", 2**53)
    parts: tuple[tuple[str, Any], ...] = (
        ("body", either("hello", "mention @room", "a" * 60_000)),
        ("msgtype", either("m.text", "m.image", "m.notice")),
        (
            "m.relates_to",
            either(
                {
                    "rel_type": either("m.thread", "m.annotation", "m.replace", "m.reference", "x"),
                    "event_id": either(some),
                    "key": either("a", "b"),
                    "is_falling_back": either(True),
                },
                {"m.in_reply_to": either({"event_id": either(some)})},
            ),
        ),
        ("m.new_content", either({"body": "new", "msgtype": "m.text"})),
        ("m.mentions", either({"user_ids": either([some]), "room": either(True)})),
        ("membership", dice.choice(MEMBERSHIPS)),
        ("join_rule", either("public", "invite", "knock", "restricted", "knock_restricted", "private")),
        ("allow", either([either({"type": "m.room_membership", "room_id": either(some)})])),
        ("history_visibility", either("joined", "shared", "invited", "world_readable")),
        ("guest_access", either("can_join", "forbidden")),
        ("users", either({some: power})),
        ("events", either({"m.room.name": power})),
        ("state_default", power),
        ("events_default", power),
        ("users_default", power),
        ("ban", power),
        ("notifications", either({"room": power})),
        ("alias", either("#a:localhost")),
        ("alt_aliases", either(["#a:localhost"])),
        ("name", either("name")),
        ("topic", either("topic")),
        ("m.topic", either({"m.text": either([{"body": either("x")}])})),
        ("url", either("mxc://localhost/abc")),
        ("avatar_url", either("mxc://localhost/abc")),
        ("displayname", either("Name", None)),
        ("redacts", either(some)),
        ("reason", either("because")),
        ("replacement_room", either(some)),
        ("predecessor", either({"room_id": some, "event_id": some})),
        ("algorithm", either("m.megolm.v1.aes-sha2")),
        ("ciphertext", either("abc")),
        ("via", either(["localhost"])),
        ("join_authorised_via_users_server", either(some)),
        ("pinned", either([some])),
        (
            "third_party_invite",
            either(
                {
                    "display_name": "a",
                    "signed": either({"mxid": some, "token": "a", "signatures": either({})}),
                }
            ),
        ),
        ("room_version", either("1", "2", "3", "6", "9", "10", "11", "12")),
        ("type", either("m.space")),
        ("additional_creators", either([some])),
        ("m.federate", either(False)),
        ("deny", either(["evil"])),
    )
    return dict(dice.sample(parts, dice.randrange(1, 5)))


def spoil(value: Any, dice: random.Random, ids: Sequence[str] = ()) -> Any:
    """Return `value` with one part changed, removed or added."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        changed = dict(value)
        name = dice.choice(list(changed))
        what = dice.random()
        if what < 0.15:
            del changed[name]
        elif what < 0.4:
            changed[name] = strange(dice, ids)
        elif what < 0.5:
            changed[dice.choice(words())] = strange(dice, ids)
        elif what < 0.55:
            changed[strange_name(dice)] = changed.pop(name)
        elif what < 0.6:
            changed |= content(dice, ids)
        else:
            changed[name] = spoil(changed[name], dice, ids)
        return changed
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        what = dice.random()
        if what < 0.2:
            return [*value, strange(dice, ids)]
        if what < 0.3:
            return value * dice.choice((0, 2, 50))
        return [*value[:at], spoil(value[at], dice, ids), *value[at + 1 :]]
    if isinstance(value, str) and dice.random() < 0.3:
        return dice.choice(
            (value * 2, value[:-1], value[1:], value.upper(), value + "\x00", value + "é", f" {value}")
        )
    return strange(dice, ids)


def strange_name(dice: random.Random) -> str:
    return dice.choice(STRINGS) if dice.random() < 0.5 else dice.choice(words())


def raw_json(value: Any) -> bytes:
    """Return JSON, or what Python accepts as JSON: NaN, and escapes of single surrogates."""
    try:
        return json.dumps(value).encode()
    except (RecursionError, ValueError):
        return b"[" * 20_000


def break_bytes(raw: bytes, dice: random.Random) -> bytes:
    """Change bytes of JSON or other data so that they are invalid, or mean something unexpected."""
    at = dice.randrange(len(raw) + 1)
    return dice.choice(
        (
            b"",
            b" \n",
            b"null",
            b"[]",
            b"0",
            b'""',
            b"{",
            b"NaN",
            b"\xff\xfe{}",
            b"\xef\xbb\xbf" + raw,
            raw[:at],
            raw[:at] + b"\xff" + raw[at:],
            raw[:at] + b"\x00" + raw[at:],
            raw + b"x",
            raw + raw,
            raw.decode("utf-8", "replace").encode("utf-16"),
            raw.replace(b"{", b'{"a":1,"a":2,', 1),
            b"[" * 30_000,
            b'{"a":' * 20_000,
            b"[" + b"1," * 200_000 + b"1]",
            raw.replace(b'"', b"'"),
            b"9" * 5000,
            raw.replace(b":", b': "\\ud83d",', 1),
            b'{"a":"\\u0000"}',
            b"-",
            b"1e400",
            b'{"":{}}',
            raw * 3,
        )
    )  # fmt: skip

"""One room's worth of events for each room version: every type whose redaction differs, and the odd shapes.

A template is a PDU without `hashes` and `signatures`; whoever writes it (Synapse or Murmuration) adds those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .canonical import LAX, MAX_INT, STRICT
from .keys import IDENTITY, LOCAL, REMOTE, Signer

ROOM_VERSIONS = tuple(str(number) for number in range(1, 13))

ALICE = f"@alice:{LOCAL}"
BOB = f"@bob:{REMOTE}"

Pdu = Any


@dataclass(frozen=True)
class Template:
    """A PDU yet to be hashed and signed, and the servers that sign it, in order."""

    name: str
    pdu: Pdu
    signers: tuple[str, ...] = (LOCAL,)


# Hashes and signs a template; answers the event ID.
Write = Callable[[Template], str]


@dataclass
class Room:
    """Writes the room's events one after the other, each naming the one before it."""

    version: int
    write: Write
    room_id: str = f"!room:{LOCAL}"
    create_id: str = ""
    previous: list[str] = field(default_factory=list)
    depth: int = 0

    def add(
        self,
        name: str,
        type_: str,
        content: Any,
        state_key: str | None = None,
        sender: str = ALICE,
        signers: tuple[str, ...] = (LOCAL,),
        **top_level: Any,
    ) -> str:
        self.depth += 1
        pdu: Pdu = {
            "type": type_,
            "sender": sender,
            "content": content,
            "depth": self.depth,
            "origin_server_ts": 1_700_000_000_000 + self.depth,
            "prev_events": self._references(self.previous),
            "auth_events": self._references([self.create_id] if self.create_id and self.version < 12 else []),
        }
        if not (self.version >= 12 and type_ == "m.room.create"):
            pdu["room_id"] = self.room_id
        if state_key is not None:
            pdu["state_key"] = state_key
        if self.version < 3:
            pdu["event_id"] = f"${self.depth}:{sender.partition(':')[2]}"
        if self.version < 6:
            pdu["origin"] = sender.partition(":")[2]
        pdu |= top_level
        event_id = self.write(Template(f"{name}", pdu, signers))
        if type_ == "m.room.create" and not self.create_id:
            self.create_id = event_id
            if self.version >= 12:
                self.room_id = "!" + event_id[1:]
        self.previous = [event_id]
        return event_id

    def _references(self, event_ids: list[str]) -> list[Any]:
        if self.version < 3:
            return [
                [event_id, {"sha256": "tn0cnnuSaLLxxJbYYwBsUdWxwz1hWNvYzvJGNkyJRPg"}]
                for event_id in event_ids
            ]
        return list(event_ids)


def write_room(version: str, write: Write, signer: Signer) -> None:
    """Return every case of one room version, in order."""
    room = Room(int(version), write)
    _write_create(room)
    _write_members(room, signer)
    _write_state(room)
    _write_messages(room)
    _write_odd_shapes(room)


def _write_create(room: Room) -> None:
    content: dict[str, Any] = {
        "m.federate": True,
        "predecessor": {"room_id": f"!old:{LOCAL}", "event_id": f"$old:{LOCAL}"},
        "type": "m.space",
        "example.extra": {"kept": "from version 11"},
        "room_version": str(room.version),
    }
    if room.version < 11:
        content["creator"] = ALICE
    if room.version >= 12:
        content["additional_creators"] = [BOB]
    room.add("create", "m.room.create", content, "")


def _write_members(room: Room, signer: Signer) -> None:
    profile = {"displayname": "Alice ☃ \U0001f600", "avatar_url": f"mxc://{LOCAL}/a", "reason": "because"}
    room.add("join", "m.room.member", {"membership": "join", **profile}, ALICE)
    room.add(
        "join, membership at the top level", "m.room.member", {"membership": "join"}, ALICE, membership="join"
    )
    room.add("join with is_direct", "m.room.member", {"membership": "join", "is_direct": True}, ALICE)
    room.add("invite", "m.room.member", {"membership": "invite", "reason": "come"}, BOB)
    room.add("leave", "m.room.member", {"membership": "leave"}, BOB, sender=BOB, signers=(REMOTE,))
    room.add("kick", "m.room.member", {"membership": "leave", "reason": "out"}, BOB)
    room.add("ban", "m.room.member", {"membership": "ban", "reason": "spam"}, BOB)
    room.add("knock", "m.room.member", {"membership": "knock", "reason": "please"}, BOB, BOB, (REMOTE,))
    room.add(
        "join authorised by another server",
        "m.room.member",
        {"membership": "join", "join_authorised_via_users_server": ALICE},
        BOB,
        sender=BOB,
        signers=(REMOTE, LOCAL),
    )
    signed = signer.sign_json({"mxid": BOB, "token": "token"}, IDENTITY)
    third_party = {"display_name": "b…", "signed": signed, "example.extra": 1}
    room.add(
        "third party invite taken up",
        "m.room.member",
        {"membership": "invite", "third_party_invite": third_party},
        BOB,
    )
    for name, value in (
        ("not an object", "signed"),
        ("without signed", {"display_name": "b"}),
        ("null", None),
    ):
        content = {"membership": "invite", "third_party_invite": value}
        room.add(f"third_party_invite {name}", "m.room.member", content, BOB)
    room.add("membership of another kind", "m.room.member", {"membership": {"not": "a string"}}, BOB)
    room.add("member without membership", "m.room.member", {"displayname": "nobody"}, BOB)


def _write_state(room: Room) -> None:
    levels: dict[str, Any] = {
        "ban": 51,
        "events": {"m.room.name": 50, "m.room.power_levels": 100, "ключ": -1},
        "events_default": 0,
        "invite": 1,
        "kick": 52,
        "notifications": {"room": 53},
        "redact": 54,
        "state_default": 55,
        "users": {BOB: 50} if room.version >= 12 else {ALICE: 100, BOB: 50},
        "users_default": 0,
        "example.extra": 1,
    }
    room.add("power levels", "m.room.power_levels", levels, "")
    room.add("power levels, none", "m.room.power_levels", {}, "")
    if room.version < 10:
        strings = {"ban": "50", "kick": " +050 ", "users": {ALICE: "100"}, "events": {"m.room.name": "-1"}}
        room.add("power levels as strings", "m.room.power_levels", strings, "")
    if room.version < 6:
        floats = {"ban": 50.57, "kick": 5.114698e4, "users": {ALICE: 1e2, BOB: 2**53}}
        room.add("power levels as floats", "m.room.power_levels", floats, "")
    room.add("join rules, public", "m.room.join_rules", {"join_rule": "public", "example.extra": 1}, "")
    allow = [{"type": "m.room_membership", "room_id": f"!other:{LOCAL}", "extra": [1]}]
    room.add(
        "join rules, restricted",
        "m.room.join_rules",
        {"join_rule": "restricted", "allow": allow, "extra": 1},
        "",
    )
    visibility = {"history_visibility": "shared", "example.extra": 1}
    room.add("history visibility", "m.room.history_visibility", visibility, "")
    room.add("guest access", "m.room.guest_access", {"guest_access": "can_join"}, "")
    room.add("aliases", "m.room.aliases", {"aliases": [f"#a:{LOCAL}", f"#ü:{LOCAL}"], "extra": 1}, LOCAL)
    room.add(
        "canonical alias",
        "m.room.canonical_alias",
        {"alias": f"#a:{LOCAL}", "alt_aliases": [f"#b:{LOCAL}"]},
        "",
    )
    room.add(
        "encryption",
        "m.room.encryption",
        {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 604800000},
        "",
    )
    room.add("name", "m.room.name", {"name": "Bäckerei 🥐"}, "")
    room.add(
        "server ACL",
        "m.room.server_acl",
        {"allow": ["*"], "deny": ["evil.example"], "allow_ip_literals": False},
        "",
    )
    room.add("tombstone", "m.room.tombstone", {"body": "moved", "replacement_room": f"!new:{LOCAL}"}, "")
    room.add(
        "third party invite",
        "m.room.third_party_invite",
        {"display_name": "b…", "public_key": "key"},
        "token",
    )
    room.add("space child", "m.space.child", {"via": [LOCAL], "order": "a"}, f"!child:{LOCAL}")
    room.add("second create", "m.room.create", {"creator": ALICE, "m.federate": False, "extra": {"a": 1}}, "")
    room.add("join rules with a state key", "m.room.join_rules", {"join_rule": "invite", "extra": 1}, "x")
    # In version 12 Synapse redacts the room ID of anything typed m.room.create, then can't read the rest.
    without_state_key = ("m.room.create",) if room.version < 12 else ()
    for type_ in ("m.room.join_rules", "m.room.power_levels", "m.room.member", *without_state_key):
        room.add(
            f"{type_} as a message",
            type_,
            {"join_rule": "knock", "membership": "join", "ban": 1, "creator": ALICE},
        )


def _write_messages(room: Room) -> None:
    target = f"$target:{LOCAL}" if room.version < 3 else "$" + "A" * 43
    room.add("message", "m.room.message", {"msgtype": "m.text", "body": "hello"})
    room.add(
        "message from another server",
        "m.room.message",
        {"msgtype": "m.text", "body": "hi"},
        None,
        BOB,
        (REMOTE,),
    )
    room.add("redaction, top level", "m.room.redaction", {"reason": "spam"}, redacts=target)
    room.add("redaction, in content", "m.room.redaction", {"reason": "spam", "redacts": target})
    room.add("redaction, both", "m.room.redaction", {"redacts": target}, redacts=target)
    relation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": "👍🏽"}}
    room.add("reaction", "m.reaction", relation)
    room.add(
        "encrypted",
        "m.room.encrypted",
        {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "device_id": "D"},
    )
    room.add("unicode type and state key", "example.☃", {"a": "é"}, "ключ \U0001f511")
    room.add("canonical JSON", "m.room.message", {"cases": STRICT})
    if room.version < 6:
        room.add("not canonical JSON", "m.room.message", {"cases": LAX})
    room.add("integers at the limits", "m.room.message", {"max": MAX_INT, "min": -MAX_INT, "zero": 0})


def _write_odd_shapes(room: Room) -> None:
    unsigned = {
        "age": 4612,
        "age_ts": 1_700_000_000_000,
        "replaces_state": "$before:x",
        "prev_content": {"a": 1},
        "prev_sender": BOB,
        "redacted_because": {"type": "m.room.redaction"},
        "transaction_id": "m1",
        "example.extra": 1,
    }
    room.add("unsigned", "m.room.topic", {"topic": "t"}, "", unsigned=unsigned)
    room.add("unsigned, empty", "m.room.message", {"body": "b"}, unsigned={})
    extra: dict[str, Any] = {
        "foo": [1, {"b": "a"}],
        "prev_state": [],
        "origin": LOCAL,
        "user_id": ALICE,
        "msgtype": "x",
        "replaces_state": "x",
    }
    room.add("extra top-level keys", "m.room.message", {"body": "b"}, **extra)
    room.add(
        "extra top-level keys on state",
        "m.room.history_visibility",
        {"history_visibility": "joined"},
        "",
        **extra,
    )
    room.add("empty content", "m.room.message", {})
    room.add("empty type", "", {"body": "b"})
    room.add("historical sender", "m.room.message", {"body": "b"}, sender=f"@Old Üser!/+:{LOCAL}")
    room.add("no previous events", "m.room.message", {"body": "b"}, prev_events=[], auth_events=[])
    many = (
        [f"${'abcdefghij'[n] * 43}" for n in range(10)]
        if room.version >= 3
        else [[f"${n}:{REMOTE}", {"sha256": "A" * 43}] for n in range(10)]
    )
    room.add("many previous events", "m.room.message", {"body": "b"}, prev_events=many, auth_events=many)
    room.add("greatest depth", "m.room.message", {"body": "b"}, depth=MAX_INT, origin_server_ts=MAX_INT)
    room.add("timestamp of zero", "m.room.message", {"body": "b"}, depth=0, origin_server_ts=0)
    room.add("negative timestamp", "m.room.message", {"body": "b"}, origin_server_ts=-1)
    room.add("hashes of another algorithm", "m.room.message", {"body": "b"}, hashes={"md5": "x"})
    room.add("large", "m.room.message", {"body": "x" * 60_000})


def departures(version: str, write: Write) -> None:
    """Return events that Synapse hashes unlike the specification, without these keys in the content hash."""
    added: dict[str, Any] = {"age_ts": 1_700_000_000_000, "outlier": True, "destinations": [REMOTE]}
    for key, value in added.items():
        Room(int(version), write, create_id="$create").add(
            f"top-level {key}", "m.room.message", {"body": "b"}, **{key: value}
        )

"""Events to be allowed or refused by the authorisation rules, each with the state it is judged against.

The cases cross what the rules look at (memberships, join rules, power levels) rather than pick examples; the
verdict is not written here, it is what each implementation answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from .keys import IDENTITY, LOCAL, REMOTE, Signer

ALICE = f"@alice:{LOCAL}"
SENDER = f"@sender:{LOCAL}"
TARGET = f"@target:{REMOTE}"
HELPER = f"@helper:{LOCAL}"
STRANGER = f"@stranger:{REMOTE}"

CREATE = ("m.room.create", "")
LEVELS = ("m.room.power_levels", "")
RULES = ("m.room.join_rules", "")

MEMBERSHIPS = (None, "invite", "join", "leave", "ban", "knock")
JOIN_RULES = (None, "public", "invite", "knock", "restricted", "knock_restricted", "private", "unheard of")


@dataclass(frozen=True)
class Draft:
    """What distinguishes an event; the writer fills in the rest of the PDU.

    `top_level` overrides whole fields of the PDU (None removes one).
    """

    type: str
    content: Any
    state_key: str | None = None
    sender: str = SENDER
    top_level: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """An event and the state it is judged against.

    `prev` names how the event's `prev_events` look: "create" (only the create event), "create and another",
    "other" or "none".
    """

    name: str
    event: Draft
    state: tuple[Draft, ...]
    prev: str = "other"


@dataclass(frozen=True)
class AuthEventsCase:
    """An event and the `auth_events` it cites.

    `rejected` and `foreign` are positions among those: of events once rejected, and of another room.
    """

    name: str
    event: Draft
    auth_events: tuple[Draft, ...]
    rejected: tuple[int, ...] = ()
    foreign: tuple[int, ...] = ()
    with_create: bool | None = None  # None: as the room version wants it
    prev: str = "other"


def member(user: str, membership: str, sender: str | None = None, **content: Any) -> Draft:
    return Draft("m.room.member", {"membership": membership, **content}, user, sender or user)


def members(*pairs: tuple[str, str | None]) -> tuple[Draft, ...]:
    return tuple(member(user, membership) for user, membership in pairs if membership)


def create(version: int, sender: str = ALICE, **content: Any) -> Draft:
    if version < 11:
        content = {"creator": sender, **content}
    return Draft("m.room.create", {"room_version": str(version), **content}, "", sender)


def levels(users: dict[str, Any] | None = None, **named: Any) -> Draft:
    content: dict[str, Any] = {**named}
    if users is not None:
        content["users"] = users
    return Draft("m.room.power_levels", content, "", ALICE)


def join_rule(rule: str | None) -> tuple[Draft, ...]:
    return (Draft("m.room.join_rules", {"join_rule": rule}, "", ALICE),) if rule else ()


def auth_cases(version: int, signer: Signer) -> Iterator[Case]:
    """Return cases for the rules that depend on the room's state."""
    for family in (
        _joins,
        _first_joins,
        _invites,
        _leaves,
        _bans,
        _knocks,
        _odd_members,
        _federation,
        _sending,
    ):
        yield from family(version)
    yield from _third_party_invites(version, signer)
    for family in (_aliases, _redactions, _power_level_changes, _power_level_shapes, _creators):
        yield from family(version)


def _room(version: int, *state: Draft) -> tuple[Draft, ...]:
    return (create(version), member(ALICE, "join"), *state)


def _joins(version: int) -> Iterator[Case]:
    for before, rule in product(MEMBERSHIPS, JOIN_RULES):
        state = _room(version, *members((SENDER, before)), *join_rule(rule))
        yield Case(f"join: {before}, {rule}", member(SENDER, "join"), state)
    for before, rule, helper, helper_level in product(
        (None, "invite", "join", "leave", "ban"),
        ("restricted", "knock_restricted", "knock", "public"),
        (None, "join", "leave", "invite"),
        (0, 30, 31),
    ):
        state = _room(
            version,
            *members((SENDER, before), (HELPER, helper)),
            *join_rule(rule),
            levels({HELPER: helper_level}, invite=30),
        )
        event = member(SENDER, "join", join_authorised_via_users_server=HELPER)
        yield Case(f"authorised join: {before}, {rule}, helper {helper} at {helper_level}", event, state)
    for rule in JOIN_RULES:
        state = _room(version, member(TARGET, "invite"), member(SENDER, "join"), *join_rule(rule))
        yield Case(f"join for another: {rule}", member(TARGET, "join", SENDER), state)


def _first_joins(version: int) -> Iterator[Case]:
    for prev, user, rule in product(
        ("create", "create and another", "other", "none"), (ALICE, SENDER), (None, "public")
    ):
        state = (create(version), *join_rule(rule))
        yield Case(f"first join: {user} after {prev}, {rule}", member(user, "join"), state, prev)
    yield Case("first join, by another", member(ALICE, "join", SENDER), (create(version),), "create")
    yield Case("first join, banned", member(ALICE, "join"), (create(version), member(ALICE, "ban")), "create")
    other = Draft("m.room.create", {"creator": SENDER, "room_version": str(version)}, "", ALICE)
    for user in (ALICE, SENDER):
        yield Case(f"first join, creator named in content: {user}", member(user, "join"), (other,), "create")


def _invites(version: int) -> Iterator[Case]:
    for sender, target in product(MEMBERSHIPS, MEMBERSHIPS):
        state = _room(version, *members((SENDER, sender), (TARGET, target)))
        yield Case(f"invite: {sender} invites {target}", member(TARGET, "invite", SENDER), state)
    for level, needed in product((0, 49, 50, 51), (None, 0, 50, -1)):
        named = {} if needed is None else {"invite": needed}
        state = _room(version, member(SENDER, "join"), levels({SENDER: level}, **named))
        yield Case(f"invite: level {level} of {needed}", member(TARGET, "invite", SENDER), state)
    yield Case("invite oneself", member(SENDER, "invite"), _room(version, member(SENDER, "join")))


# sender's level, target's level, kick level, ban level
_LEVELS = (
    (50, 0, 50, 50),
    (49, 0, 50, 50),
    (50, 50, 50, 50),
    (51, 50, 50, 50),
    (55, 0, 50, 60),
    (55, 0, 60, 50),
    (0, -1, 0, 0),
)


def _leaves(version: int) -> Iterator[Case]:
    for before in MEMBERSHIPS:
        yield Case(f"leave: {before}", member(SENDER, "leave"), _room(version, *members((SENDER, before))))
    for sender, target in product(MEMBERSHIPS, MEMBERSHIPS):
        state = _room(version, *members((SENDER, sender), (TARGET, target)), levels({SENDER: 100}))
        yield Case(f"kick: {sender} kicks {target}", member(TARGET, "leave", SENDER), state)
    for target, (mine, theirs, kick, ban) in product(("join", "invite", "ban", "knock"), _LEVELS):
        state = _room(
            version,
            *members((SENDER, "join"), (TARGET, target)),
            levels({SENDER: mine, TARGET: theirs}, kick=kick, ban=ban),
        )
        name = f"kick: level {mine} kicks {target} of {theirs}, kick {kick}, ban {ban}"
        yield Case(name, member(TARGET, "leave", SENDER), state)
    for level in (49, 50):
        state = _room(version, *members((SENDER, "join"), (TARGET, "join")), levels({SENDER: level}))
        yield Case(f"kick: level {level} of the default", member(TARGET, "leave", SENDER), state)


def _bans(version: int) -> Iterator[Case]:
    for sender, target in product(MEMBERSHIPS, MEMBERSHIPS):
        state = _room(version, *members((SENDER, sender), (TARGET, target)), levels({SENDER: 100}))
        yield Case(f"ban: {sender} bans {target}", member(TARGET, "ban", SENDER), state)
    for mine, theirs, kick, ban in _LEVELS:
        state = _room(
            version,
            *members((SENDER, "join"), (TARGET, "join")),
            levels({SENDER: mine, TARGET: theirs}, kick=kick, ban=ban),
        )
        yield Case(
            f"ban: level {mine} bans {theirs}, kick {kick}, ban {ban}", member(TARGET, "ban", SENDER), state
        )
    for level in (49, 50):
        state = _room(version, member(SENDER, "join"), levels({SENDER: level}))
        yield Case(f"ban: level {level} of the default", member(TARGET, "ban", SENDER), state)
    yield Case(
        "ban oneself", member(SENDER, "ban"), _room(version, member(SENDER, "join"), levels({SENDER: 100}))
    )


def _knocks(version: int) -> Iterator[Case]:
    for before, rule in product(MEMBERSHIPS, JOIN_RULES):
        state = _room(version, *members((SENDER, before)), *join_rule(rule))
        yield Case(f"knock: {before}, {rule}", member(SENDER, "knock"), state)
    for rule in ("knock", "knock_restricted"):
        state = _room(version, member(SENDER, "join"), *join_rule(rule))
        yield Case(f"knock for another: {rule}", member(TARGET, "knock", SENDER), state)
    yield Case("knock taken back", member(SENDER, "leave"), _room(version, member(SENDER, "knock")))
    state = _room(version, *members((SENDER, "join"), (TARGET, "knock")), levels({SENDER: 50}))
    yield Case("knock answered", member(TARGET, "invite", SENDER), state)


def _odd_members(version: int) -> Iterator[Case]:
    state = _room(version, member(SENDER, "join"), levels({SENDER: 100}))
    yield Case("membership unheard of", member(SENDER, "lurk"), state)
    yield Case("membership missing", Draft("m.room.member", {"displayname": "x"}, SENDER), state)
    yield Case("member without state key", Draft("m.room.member", {"membership": "join"}), state)
    yield Case("membership as number", Draft("m.room.member", {"membership": 1}, SENDER), state)
    yield Case("membership as list", Draft("m.room.member", {"membership": ["join"]}, SENDER), state)
    yield Case("member of no user", Draft("m.room.member", {"membership": "invite"}, "not a user"), state)
    yield Case(
        "join rule as number",
        member(SENDER, "join"),
        _room(version, Draft("m.room.join_rules", {"join_rule": 1}, "", ALICE)),
    )
    yield Case(
        "join rules without rule",
        member(SENDER, "join"),
        _room(version, Draft("m.room.join_rules", {}, "", ALICE)),
    )
    for invited in (None, "invite"):
        state = _room(version, *members((SENDER, invited)), Draft("m.room.join_rules", {}, "", ALICE))
        yield Case(f"join rules without rule, {invited}", member(SENDER, "join"), state)


def _federation(version: int) -> Iterator[Case]:
    for federate in (True, False, None, "no", 0):
        content: dict[str, Any] = {"m.federate": federate}
        closed = create(version, **content)
        state = (
            closed,
            member(ALICE, "join"),
            member(SENDER, "join"),
            member(TARGET, "join"),
            *join_rule("public"),
        )
        for sender in (SENDER, TARGET):
            yield Case(
                f"federate {federate}: message of {sender}", Draft("m.room.message", {}, None, sender), state
            )
            yield Case(
                f"federate {federate}: join of {sender}", member(sender, "join"), state[:2] + state[4:]
            )


def _sending(version: int) -> Iterator[Case]:
    for membership in MEMBERSHIPS:
        state = _room(version, *members((SENDER, membership)), levels({SENDER: 100}))
        yield Case(f"message: {membership}", Draft("m.room.message", {}), state)
        yield Case(f"name: {membership}", Draft("m.room.name", {}, ""), state)
        yield Case(
            f"issue third party invite: {membership}", Draft("m.room.third_party_invite", {}, "t"), state
        )
    settings: tuple[dict[str, Any] | None, ...] = (
        None,
        {},
        {"events_default": 10, "state_default": 20},
        {"events": {"m.room.message": 30, "m.room.name": 30}},
        {"users_default": 50},
        {"invite": 40},
        {"events": {"m.room.third_party_invite": 90}},
    )
    drafts = (
        Draft("m.room.message", {}),
        Draft("m.room.name", {}, ""),
        Draft("m.room.name", {}),
        Draft("m.room.message", {}, ""),
        Draft("m.room.third_party_invite", {}, "t"),
        Draft("m.room.join_rules", {"join_rule": "public"}, ""),
        Draft("example.type", {}, "key"),
    )
    for setting, level, draft in product(settings, (None, 0, 10, 20, 30, 40, 50), drafts):
        users = {} if level is None else {SENDER: level}
        power = () if setting is None else (levels(users, **setting),)
        if setting is None and level is not None:
            continue
        name = f"send {draft.type} {draft.state_key!r} at {level} under {setting}"
        yield Case(name, draft, _room(version, member(SENDER, "join"), *power))
    for draft in drafts:
        creator = Draft(draft.type, draft.content, draft.state_key, ALICE)
        yield Case(f"creator sends {draft.type} {draft.state_key!r} without levels", creator, _room(version))
    for key in (SENDER, TARGET, "@", "@unfinished", f"x{TARGET}"):
        state = _room(version, member(SENDER, "join"), levels({SENDER: 100}))
        yield Case(f"state key {key}", Draft("example.type", {}, key), state)
        yield Case(
            f"third party invite with state key {key}", Draft("m.room.third_party_invite", {}, key), state
        )
    yield Case("no create event", Draft("m.room.message", {}), (member(SENDER, "join"),))


def _third_party_invites(version: int, signer: Signer) -> Iterator[Case]:
    token = "token"
    good = signer.sign_json({"mxid": TARGET, "token": token}, IDENTITY)
    key, other_key = signer.public_key(IDENTITY), signer.public_key(REMOTE)
    signed_variants: dict[str, Any] = {
        "good": good,
        "for another user": signer.sign_json({"mxid": STRANGER, "token": token}, IDENTITY),
        "of another token": signer.sign_json({"mxid": TARGET, "token": "other"}, IDENTITY),
        "by another key": signer.sign_json({"mxid": TARGET, "token": token}, REMOTE),
        "tampered": {**good, "extra": 1},
        "without signatures": {"mxid": TARGET, "token": token},
        "without mxid": {k: v for k, v in good.items() if k != "mxid"},
        "with odd signatures": {**good, "signatures": {IDENTITY: {"ed25519:0": "not base64!"}}},
    }
    issued = {
        "public_key": {
            "display_name": "t",
            "public_key": key,
            "key_validity_url": "https://identity.example/v",
        },
        "public_keys": {"public_keys": [{"public_key": other_key}, {"public_key": key}]},
        "both": {"public_key": other_key, "public_keys": [{"public_key": key}]},
        "other keys": {"public_key": other_key, "public_keys": []},
        "no keys": {},
    }

    def invite(signed: Any, sender: str = SENDER) -> Draft:
        return member(TARGET, "invite", sender, third_party_invite={"display_name": "t", "signed": signed})

    for (signed_name, signed), (keys_name, keys) in product(signed_variants.items(), issued.items()):
        state = _room(version, member(SENDER, "join"), Draft("m.room.third_party_invite", keys, token))
        yield Case(f"third party invite: {signed_name}, {keys_name}", invite(signed), state)
    for sender, target in product(MEMBERSHIPS, MEMBERSHIPS):
        offer = Draft("m.room.third_party_invite", issued["public_key"], token)
        state = _room(version, *members((SENDER, sender), (TARGET, target)), offer)
        yield Case(f"third party invite: {sender} invites {target}", invite(good), state)
    offer = Draft("m.room.third_party_invite", issued["public_key"], token, HELPER)
    yield Case(
        "third party invite of another's offer", invite(good), _room(version, member(SENDER, "join"), offer)
    )
    yield Case("third party invite without offer", invite(good), _room(version, member(SENDER, "join")))
    odd = {"null": None, "empty": {}, "a string": "signed", "signed null": {"signed": None}}
    for name, value in odd.items():
        event = member(TARGET, "invite", SENDER, third_party_invite=value)
        yield Case(f"third party invite: {name}", event, _room(version, member(SENDER, "join")))


def _aliases(version: int) -> Iterator[Case]:
    for key, membership in product((LOCAL, REMOTE, "", None, SENDER), (None, "join")):
        state = _room(version, *members((SENDER, membership)))
        yield Case(f"aliases of {key!r}: {membership}", Draft("m.room.aliases", {"aliases": []}, key), state)


def _redactions(version: int) -> Iterator[Case]:
    targets = (f"$event:{LOCAL}", f"$event:{REMOTE}", "$" + "a" * 43, None, 7)
    for level, target, in_content in product((0, 50, 100), targets, (False, True)):
        content = {"redacts": target} if in_content else {}
        top_level = {} if in_content else {"redacts": target}
        state = _room(version, member(SENDER, "join"), levels({SENDER: level}))
        event = Draft("m.room.redaction", content, None, SENDER, top_level)
        yield Case(f"redaction of {target} at {level}, in content {in_content}", event, state)


_NAMED = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
_MAPS = (("events", "m.room.name"), ("users", TARGET), ("users", SENDER), ("notifications", "room"))


def _power_level_changes(version: int) -> Iterator[Case]:
    before, after = (None, 40, 50, 60, 100), (None, 40, 50, 51)
    for name, old, new in product(_NAMED, before, after):
        fixed = {"state_default": 0} if name != "state_default" else {"events": {"m.room.power_levels": 0}}
        old_content = {"users": {SENDER: 50}, **fixed, **({} if old is None else {name: old})}
        new_content = {"users": {SENDER: 50}, **fixed, **({} if new is None else {name: new})}
        yield _change(version, f"{name} from {old} to {new}", old_content, new_content)
    for (group, key), old, new in product(_MAPS, before, after):
        yield _change(
            version, f"{group} {key} from {old} to {new}", _entry(group, key, old), _entry(group, key, new)
        )
    yield _change(
        version,
        "same levels above one's own",
        {"state_default": 0, "ban": 100},
        {"state_default": 0, "ban": 100},
    )
    yield Case(
        "first power levels",
        Draft("m.room.power_levels", {"users": {SENDER: 1000}, "ban": 99}, "", ALICE),
        _room(version),
    )


def _entry(group: str, key: str, value: int | None) -> dict[str, Any]:
    content: dict[str, Any] = {"state_default": 0, "users": {SENDER: 50}}
    entries = content.setdefault(group, {})
    entries.pop(key, None)
    if value is not None:
        entries[key] = value
    return content


def _change(version: int, name: str, old: dict[str, Any], new: dict[str, Any]) -> Case:
    state = _room(version, member(SENDER, "join"), Draft("m.room.power_levels", old, "", ALICE))
    return Case(f"power levels: {name}", Draft("m.room.power_levels", new, ""), state)


def _power_level_shapes(version: int) -> Iterator[Case]:
    odd: dict[str, Any] = {
        "text": "50",
        "signed text": "+50",
        "padded text": " 0050 ",
        "negative text": "-1",
        "word": "fifty",
        "empty text": "",
        "underscored text": "5_0",
        "float text": "50.0",
        "true": True,
        "false": False,
        "null": None,
        "list": [50],
        "object": {},
    }
    if version < 6:
        odd |= {"float": 49.9, "whole float": 50.0}
    for name, value in odd.items():
        for field_name in ("ban", "users_default", "state_default"):
            yield _shape(version, f"{field_name} as {name}", {field_name: value})
        for group, key in (("users", HELPER), ("events", "m.room.name"), ("notifications", "room")):
            yield _shape(version, f"{group} entry as {name}", {group: {key: value}})
        # The same where there are power levels already.
        for changed in ({"users": {HELPER: value}}, {"ban": value}):
            change = Draft("m.room.power_levels", {**_OPEN, **changed}, "", ALICE)
            state = _room(version, levels(**_OPEN))
            yield Case(f"power levels shape, changed: {next(iter(changed))} as {name}", change, state)
    for group, value in product(("users", "events", "notifications"), (None, [], "x", 0)):
        yield _shape(version, f"{group} as {value!r}", {group: value})
    for user in (
        "not a user",
        "@",
        "@nobody",
        "@:x",
        f"alice:{LOCAL}",
        "",
        f"@UP per:{LOCAL}",
        f"@{'a' * 300}:{LOCAL}",
    ):
        yield _shape(version, f"user {user[:20]!r}", {"users": {user: 0}})
    # Malformed values in force already: what a later event is judged against.
    for value in ("100", " 49 ", 50) + ((50.9,) if version < 6 else ()):
        state = _room(version, member(SENDER, "join"), levels({SENDER: value}, state_default="50"))
        if version < 10:
            yield Case(f"levels in force: user at {value!r}", Draft("m.room.name", {}, ""), state)


# Levels by which the creator, who has none of their own before version 12, may still change them.
_OPEN: dict[str, Any] = {"state_default": 0, "users_default": 100}


def _shape(version: int, name: str, content: dict[str, Any]) -> Case:
    state = _room(version)
    return Case(f"power levels shape: {name}", Draft("m.room.power_levels", content, "", ALICE), state)


def _creators(version: int) -> Iterator[Case]:
    helped = create(version, additional_creators=[HELPER])
    for user in (ALICE, HELPER, SENDER):
        state = (helped, *members((ALICE, "join"), (HELPER, "join"), (SENDER, "join"), (TARGET, "join")))
        power = levels({TARGET: 2**53 - 1}, events={"m.room.name": 2**53 - 1})
        yield Case(f"creators: name by {user}", Draft("m.room.name", {}, "", user), (*state, power))
        yield Case(f"creators: kick by {user}", member(TARGET, "leave", user), (*state, power))
        yield Case(f"creators: {user} kicked by creator", member(user, "leave", ALICE), (*state, power))
        yield Case(f"creators: {user} kicked by the highest", member(user, "leave", TARGET), (*state, power))
        yield Case(
            f"creators: {user} in users",
            Draft("m.room.power_levels", {"users": {user: 100}}, "", ALICE),
            state,
        )
        yield Case(f"creators: no levels, name by {user}", Draft("m.room.name", {}, "", user), state)
        yield Case(
            f"creators: levels by {user}",
            Draft("m.room.power_levels", {"ban": 2**53 - 1}, "", user),
            (*state, power),
        )


def create_cases(version: int) -> Iterator[AuthEventsCase]:
    """Return create events, which are checked alone."""
    contents: dict[str, Any] = {
        "plain": {},
        "without room_version": {"room_version": None},
        "of a version unheard of": {"room_version": "example.none"},
        "room_version as number": {"room_version": version},
    }
    for name, content in contents.items():
        draft = create(version, **content)
        merged = {key: value for key, value in draft.content.items() if value is not None}
        yield AuthEventsCase(f"create {name}", Draft(draft.type, merged, "", ALICE), (), prev="none")
    yield AuthEventsCase("create with previous events", create(version), ())
    plain = create(version)
    without = {key: value for key, value in plain.content.items() if key != "creator"}
    yield AuthEventsCase("create without creator", Draft(plain.type, without, "", ALICE), (), prev="none")
    if version < 12:
        for room_id in (f"!room:{REMOTE}", f"!room:{LOCAL}"):
            event = Draft(plain.type, plain.content, "", ALICE, {"room_id": room_id})
            yield AuthEventsCase(f"create of {room_id}", event, (), prev="none")
    creators: dict[str, Any] = {
        "good": [HELPER, TARGET],
        "none": [],
        "null": None,
        "text": HELPER,
        "numbers": [1],
        "no users": ["nobody"],
        "no domain": ["@nobody"],
        "no name": [f"@:{LOCAL}"],
        "too long": [f"@{'a' * 250}:{LOCAL}"],
        "with creator": [ALICE],
        "twice": [HELPER, HELPER],
    }
    for name, value in creators.items():
        yield AuthEventsCase(
            f"additional creators: {name}", create(version, additional_creators=value), (), prev="none"
        )


def auth_events_cases(version: int) -> Iterator[AuthEventsCase]:
    """Return events that are checked against the `auth_events` that they cite."""
    mine, power, rules = member(SENDER, "join"), levels({SENDER: 50}), join_rule("public")[0]
    theirs = member(TARGET, "join")
    message = Draft("m.room.message", {})
    for with_create in (True, False):
        yield AuthEventsCase(f"usual, create {with_create}", message, (mine, power), with_create=with_create)
    yield AuthEventsCase("none", message, (), with_create=False)
    later = Draft(mine.type, mine.content, mine.state_key, mine.sender, {"depth": 11})
    yield AuthEventsCase("duplicate key", message, (mine, later))
    yield AuthEventsCase("the same event twice", message, (mine, mine))
    yield AuthEventsCase("join rules on a message", message, (mine, rules))
    yield AuthEventsCase("another's membership on a message", message, (mine, theirs))
    yield AuthEventsCase("name on a message", message, (mine, Draft("m.room.name", {}, "")))
    yield AuthEventsCase("rejected", message, (mine, power), rejected=(1,))
    yield AuthEventsCase("of another room", message, (mine, power), foreign=(1,))
    for membership in ("join", "invite", "knock", "leave", "ban"):
        sender = TARGET if membership in ("join", "knock") else SENDER
        event = member(TARGET, membership, sender)
        yield AuthEventsCase(
            f"join rules on {membership}", event, (mine, theirs, rules)[0 if sender == SENDER else 1 :]
        )
    event = member(TARGET, "join", join_authorised_via_users_server=HELPER)
    yield AuthEventsCase("authorising user", event, (theirs, rules, member(HELPER, "join")))
    yield AuthEventsCase("other than the authorising user", event, (theirs, rules, member(STRANGER, "join")))
    offer = Draft("m.room.third_party_invite", {}, "token")
    signed = {"signed": {"mxid": TARGET, "token": "token", "signatures": {}}}
    yield AuthEventsCase(
        "offer", member(TARGET, "invite", SENDER, third_party_invite=signed), (mine, theirs, rules, offer)
    )
    yield AuthEventsCase(
        "offer on a plain invite", member(TARGET, "invite", SENDER), (mine, theirs, rules, offer)
    )

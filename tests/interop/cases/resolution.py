"""Rooms that fork and merge at random, so that their states must be resolved.

A seeded simulation: users of different power act on one of several branches without seeing the others; an act
is kept only if the authorisation rules allow it on that branch, as in a real room. The implementation under
test hashes, judges and resolves; what it answers shapes the rest of the room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from .keys import LOCAL, REMOTE

StateKey = tuple[str, str]
StateMap = dict[StateKey, str]
Pdu = dict[str, Any]

ALICE = f"@alice:{LOCAL}"
ADMINS = (ALICE, f"@bob:{REMOTE}", f"@carol:{LOCAL}")
MODERATORS = (f"@dave:{LOCAL}", f"@eve:{REMOTE}")
OTHERS = tuple(f"@user{n}:{LOCAL if n % 2 else REMOTE}" for n in range(5))
EVERYONE = ADMINS + MODERATORS + OTHERS


class Engine(Protocol):
    """The implementation that runs the room."""

    def add(self, pdu: Pdu, state: StateMap) -> tuple[str, bool]:
        """Take in a PDU. Return its event ID, and whether the rules allow it in this state."""

    def resolve(self, state_sets: Sequence[StateMap]) -> StateMap:
        """Return the resolution of the states, whose events were all added before."""


@dataclass
class Resolution:
    state_sets: list[StateMap]
    resolved: StateMap


@dataclass
class Branch:
    tips: list[str]
    state: StateMap
    depth: int


@dataclass
class SimulatedRoom:
    """The events in the order made, and each resolution that came up."""

    version: int
    seed: int
    engine: Engine
    room_id: str = f"!fork:{LOCAL}"
    events: dict[str, Pdu] = field(default_factory=dict)
    resolutions: list[Resolution] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.version} {self.seed}")
        self.clock = 1_000

    def run(self, steps: int, branches: int) -> None:
        trunk = self._trunk()
        forks = [Branch(list(trunk.tips), dict(trunk.state), trunk.depth) for _ in range(branches)]
        for _ in range(steps):
            if self.random.random() < 0.04 and len(forks) > 1:
                self._merge(forks)
            else:
                self._act(self.random.choice(forks))
        for count in range(2, branches + 1):
            chosen = self.random.sample(forks, count)
            self._resolve([fork.state for fork in chosen])

    def _trunk(self) -> Branch:
        trunk = Branch([], {}, 0)
        content: dict[str, Any] = {"room_version": str(self.version)}
        if self.version < 11:
            content["creator"] = ALICE
        if self.version >= 12 and self.seed % 2:
            content["additional_creators"] = [ADMINS[1]]
        creators = {ALICE, *content.get("additional_creators", ())} if self.version >= 12 else set()
        self._send(trunk, "m.room.create", "", ALICE, content)
        self._send(trunk, "m.room.member", ALICE, ALICE, {"membership": "join"})
        users = dict.fromkeys(ADMINS, 100) | dict.fromkeys(MODERATORS, 50)
        users = {user: level for user, level in users.items() if user not in creators}
        self._send(
            trunk, "m.room.power_levels", "", ALICE, {"users": users, "users_default": 0, "events_default": 0}
        )
        self._send(trunk, "m.room.join_rules", "", ALICE, {"join_rule": "public"})
        for user in EVERYONE[1:-2]:
            self._send(trunk, "m.room.member", user, user, {"membership": "join"})
        self._send(trunk, "m.room.topic", "", ALICE, {"topic": "trunk"})
        return trunk

    def _send(self, branch: Branch, type_: str, key: str, sender: str, content: dict[str, Any]) -> None:
        self.clock += self.random.choice((0, 0, 1, 1, 2, 5))
        auth_events = [
            branch.state[pair]
            for pair in self._auth_keys(type_, key, sender, content)
            if pair in branch.state
        ]
        pdu: Pdu = {
            "type": type_,
            "state_key": key,
            "sender": sender,
            "content": content,
            "depth": branch.depth + 1,
            # Clocks differ between servers, so that time and order disagree.
            "origin_server_ts": self.clock + self.random.choice((0, 0, 0, -7, 4)),
            "prev_events": branch.tips,
            "auth_events": auth_events,
        }
        if self.version < 12 or type_ != "m.room.create":
            pdu["room_id"] = self.room_id
        if self.version < 3:
            pdu["event_id"] = f"${self.random.getrandbits(60):x}:{sender.partition(':')[2]}"
        event_id, allowed = self.engine.add(pdu, branch.state)
        if not allowed:
            return
        self.events[event_id] = pdu
        if type_ == "m.room.create" and self.version >= 12:
            self.room_id = "!" + event_id[1:]
        branch.state = {**branch.state, (type_, key): event_id}
        branch.tips = [event_id]
        branch.depth += 1

    def _auth_keys(self, type_: str, key: str, sender: str, content: dict[str, Any]) -> Iterable[StateKey]:
        if type_ == "m.room.create":
            return []
        keys: list[StateKey] = [] if self.version >= 12 else [("m.room.create", "")]
        keys += [("m.room.power_levels", ""), ("m.room.member", sender)]
        if type_ == "m.room.member":
            keys.append(("m.room.member", key))
            if content["membership"] in ("join", "invite", "knock"):
                keys.append(("m.room.join_rules", ""))
        return dict.fromkeys(keys)

    def _act(self, branch: Branch) -> None:
        acts = (
            self._join,
            self._moderate,
            self._set_levels,
            self._set_rule,
            self._set_topic,
            self._set_other,
        )
        (act,) = self.random.choices(acts, weights=(5, 5, 3, 2, 2, 2))
        act(branch, self.random.choice(EVERYONE if self.random.random() < 0.5 else ADMINS + MODERATORS))

    def _join(self, branch: Branch, user: str) -> None:
        membership = self.random.choice(("join", "join", "leave"))
        name = {"displayname": self.random.choice("abc")} if membership == "join" else {}
        self._send(branch, "m.room.member", user, user, {"membership": membership, **name})

    def _moderate(self, branch: Branch, user: str) -> None:
        target = self.random.choice(EVERYONE)
        membership = self.random.choice(("ban", "leave", "invite"))
        if target != user:
            self._send(branch, "m.room.member", target, user, {"membership": membership})

    def _set_levels(self, branch: Branch, user: str) -> None:
        in_force = branch.state.get(("m.room.power_levels", ""))
        current = self.events[in_force]["content"] if in_force else {}
        users = dict(current.get("users", {}))
        target = self.random.choice(EVERYONE)
        users[target] = self.random.choice((0, 50, 100, 100))
        if self.version >= 12:
            create = self.events[branch.state["m.room.create", ""]]
            for creator in (ALICE, *create["content"].get("additional_creators", ())):
                users.pop(creator, None)
        changed = {"ban": self.random.choice((50, 75)), "invite": self.random.choice((0, 50))}
        content = {**current, "users": users, **(changed if self.random.random() < 0.3 else {})}
        self._send(branch, "m.room.power_levels", "", user, content)

    def _set_rule(self, branch: Branch, user: str) -> None:
        rule = self.random.choice(("public", "public", "invite"))
        self._send(branch, "m.room.join_rules", "", user, {"join_rule": rule})

    def _set_topic(self, branch: Branch, user: str) -> None:
        self._send(branch, "m.room.topic", "", user, {"topic": f"{self.random.randrange(10**6)}"})

    def _set_other(self, branch: Branch, user: str) -> None:
        key = self.random.choice("xyz")
        self._send(branch, "example.state", key, user, {"value": self.random.randrange(10**6)})

    def _merge(self, forks: list[Branch]) -> None:
        chosen = self.random.sample(range(len(forks)), self.random.choice((2, min(3, len(forks)))))
        merged = [forks[index] for index in chosen]
        state = self._resolve([fork.state for fork in merged])
        tips = list(dict.fromkeys(tip for fork in merged for tip in fork.tips))
        forks[chosen[0]] = Branch(tips, state, max(fork.depth for fork in merged))

    def _resolve(self, state_sets: list[StateMap]) -> StateMap:
        resolved = self.engine.resolve(state_sets)
        self.resolutions.append(Resolution(state_sets, resolved))
        return dict(resolved)

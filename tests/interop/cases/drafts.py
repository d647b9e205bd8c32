"""Turns the drafts of the authorisation cases into whole PDUs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from .auth import AuthEventsCase, Case, Draft, create
from .keys import LOCAL

Pdu = dict[str, Any]


class PduWriter:
    """Writes PDUs of one room version; `event_id_of` computes the ID of a PDU (versions 3 and later)."""

    def __init__(self, version: int, event_id_of: Callable[[Pdu], str]) -> None:
        self.version = version
        self._event_id_of = event_id_of

    def case(self, case: Case) -> tuple[Pdu, list[Pdu]]:
        """Return the event to check and the state's events."""
        state, room_id = self._state(case.state)
        create_ids = [self._event_id_of(pdu) for pdu in state if pdu["type"] == "m.room.create"]
        other = f"$other:{LOCAL}" if self.version < 3 else "$" + "o" * 43
        prev_events = {
            "create": create_ids[:1],
            "create and another": [*create_ids[:1], other],
            "other": [other],
            "none": [],
        }[case.prev]
        return self._pdu(case.event, room_id, prev_events), state

    def auth_events_case(self, case: AuthEventsCase) -> tuple[Pdu, list[Pdu], Pdu | None]:
        """Return the event to check, the events in its `auth_events` in order, and its room's create
        event.
        """
        with_create = case.with_create if case.with_create is not None else self.version < 12
        if case.event.type == "m.room.create":
            return self._pdu(case.event, f"!room:{LOCAL}", self._others(case.prev)), [], None
        state, room_id = self._state((create(self.version), *case.auth_events))
        cited = state if with_create else state[1:]
        offset = 1 if with_create else 0
        for position in case.foreign:
            cited[position + offset]["room_id"] = f"!foreign:{LOCAL}" if self.version < 12 else "!" + "f" * 43
        auth_events = [self._event_id_of(pdu) for pdu in cited]
        return self._pdu(case.event, room_id, self._others(case.prev), auth_events), cited, state[0]

    def rejected(self, case: AuthEventsCase) -> list[int]:
        """Return the positions of the rejected ones among the cited events."""
        with_create = case.with_create if case.with_create is not None else self.version < 12
        return [position + (1 if with_create else 0) for position in case.rejected]

    def _others(self, prev: str) -> list[str]:
        return [] if prev == "none" else ["$" + "o" * 43 if self.version >= 3 else f"$other:{LOCAL}"]

    def _state(self, drafts: Sequence[Draft]) -> tuple[list[Pdu], str]:
        room_id = f"!room:{LOCAL}"
        state = []
        for draft in drafts:
            pdu = self._pdu(draft, room_id, [])
            state.append(pdu)
            if draft.type == "m.room.create" and self.version >= 12:
                room_id = "!" + self._event_id_of(pdu)[1:]
        return state, room_id

    def _pdu(
        self, draft: Draft, room_id: str, prev_events: list[str], auth_events: Sequence[str] = ()
    ) -> Pdu:
        pdu: Pdu = {
            "type": draft.type,
            "sender": draft.sender,
            "content": draft.content,
            "depth": 10,
            "origin_server_ts": 1000,
            "prev_events": self._references(prev_events),
            "auth_events": self._references(auth_events),
            "hashes": {},
            "signatures": {server: {"ed25519:1": "c2ln"} for server in _signers(draft)},
        }
        if draft.state_key is not None:
            pdu["state_key"] = draft.state_key
        if self.version < 12 or draft.type != "m.room.create":
            pdu["room_id"] = room_id
        if self.version < 3:
            digest = hashlib.sha256(json.dumps(pdu, sort_keys=True).encode()).hexdigest()[:16]
            pdu["event_id"] = f"${digest}:{draft.sender.partition(':')[2]}"
        return pdu | draft.top_level

    def _references(self, event_ids: Sequence[str]) -> list[Any]:
        return [[event_id, {}] for event_id in event_ids] if self.version < 3 else list(event_ids)


def _signers(draft: Draft) -> list[str]:
    """Return the servers whose signature the event needs; the rules look at who signed, not at the bytes."""
    content = draft.content if isinstance(draft.content, dict) else {}
    authoriser = content.get("join_authorised_via_users_server")
    users = [draft.sender, authoriser] if isinstance(authoriser, str) else [draft.sender]
    return list(dict.fromkeys(user.partition(":")[2] for user in users))

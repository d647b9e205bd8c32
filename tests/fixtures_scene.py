"""A scene: users of a world act by calling domain functions, at times that the scene sets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.identifiers import DeviceId, UserId
from replay.backdrop import stopped_clock
from tests.fixtures_stage import SERVER_NAME
from tests.keys.crypto import CrossSigning, KeyPair

START = 1_750_000_000_000
"""When the worlds begin: 15 June 2025, 15:06:40 UTC."""
PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "christmas"}


def key_pair(name: str, device_id: str | None = None) -> KeyPair:
    """Return a key pair that is always the same for a name."""
    seed = name.encode().ljust(32, b".")[:32]
    return KeyPair(device_id, Ed25519PrivateKey.from_private_bytes(seed))


def cross_signing(name: str) -> CrossSigning:
    """Return a person's cross-signing keys."""
    purposes = ("master", "self_signing", "user_signing")
    return CrossSigning(f"@{name}:{SERVER_NAME}", *(key_pair(f"{name} {purpose}") for purpose in purposes))


class Scene:
    """People act, a second passes after each act. `names` collects what fixtures will speak of."""

    def __init__(self, clock: int, names: Mapping[str, str]) -> None:
        self.clock = clock
        self.names = dict(names)

    def pass_time(self, milliseconds: int) -> None:
        self.clock += milliseconds

    def act(self, call: Any, *arguments: Any, **options: Any) -> Any:
        """Call a domain function at the scene's time."""
        with stopped_clock(self.clock):
            result = call(*arguments, **options)
        self.pass_time(1000)
        return result

    # -- People ----------------------------------------------------------------------------------------------

    def user_id(self, name: str) -> str:
        return f"@{name}:{SERVER_NAME}"

    def register(self, name: str, device_id: str, display_name: str) -> None:
        """Create an account with a known password, and log in on one device."""
        from murmuration.accounts.registration import create_account

        self.act(create_account, name, PASSWORDS[name])
        self.names[name] = self.user_id(name)
        self.log_in(name, device_id, f"{display_name}'s {device_id.lower()}")
        self.names[f"{name}_token"] = self.names.pop(f"{name}_{device_id.lower()}_token")
        self.devices[name] = device_id

    def log_in(self, name: str, device_id: str, display_name: str, **more: Any) -> dict[str, Any]:
        """Log in on a device. The token's name is such as `alice_tablet_token`."""
        from murmuration.accounts.login import login

        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": PASSWORDS[name],
            "device_id": device_id,
            "initial_device_display_name": display_name,
            **more,
        }
        answer: dict[str, Any] = self.act(login, body, source_ip="198.51.100.1")
        self.names[f"{name}_{device_id.lower()}_token"] = answer["access_token"]
        if "refresh_token" in answer:
            self.names[f"{name}_{device_id.lower()}_refresh_token"] = answer["refresh_token"]
        return answer

    @functools.cached_property
    def devices(self) -> dict[str, str]:
        """The first device of each person."""
        return {"alice": "PHONE", "bob": "LAPTOP", "carol": "WATCH"}

    def token(self, name: str) -> AccessToken:
        return AccessToken.parse(self.names[f"{name}_token"])

    def requester(self, name: str) -> Requester:
        return Requester(UserId(self.user_id(name)), DeviceId(self.devices[name]))

    # -- Rooms -----------------------------------------------------------------------------------------------

    def create_room(self, creator: str, called: str, **request: Any) -> str:
        """Create a room; `called` is its name among fixtures."""
        from murmuration.rooms.lifecycle.creation import RoomRequest, create_room

        room_id: str = self.act(create_room, self.requester(creator), RoomRequest(**request))
        self.names[called] = room_id
        return room_id

    def join(self, name: str, room_id: str) -> None:
        from murmuration.rooms.membership.operations import join_room

        self.act(join_room, self.user_id(name), room_id)

    def say(self, name: str, room_id: str, text: str, called: str | None = None, **content: Any) -> str:
        """Send an m.text message, and return its ID, which gets the name `called`."""
        return self.send(
            name, room_id, "m.room.message", {"msgtype": "m.text", "body": text, **content}, called
        )

    def send(
        self,
        name: str,
        room_id: str,
        event_type: str,
        content: Mapping[str, Any],
        called: str | None = None,
    ) -> str:
        from murmuration.rooms.writing.sending import send_message

        event_id: str = self.act(
            send_message, self.token(name), room_id, event_type, called or f"m{self.clock}", content
        )
        if called is not None:
            self.names[called] = event_id
        return event_id

    def set_state(
        self,
        name: str,
        room_id: str,
        event_type: str,
        content: Mapping[str, Any],
        state_key: str = "",
        called: str | None = None,
    ) -> str:
        from murmuration.rooms.writing.sending import set_state

        event_id: str = self.act(set_state, self.requester(name), room_id, event_type, state_key, content)
        if called is not None:
            self.names[called] = event_id
        return event_id

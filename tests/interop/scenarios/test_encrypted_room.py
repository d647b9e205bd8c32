"""An encrypted room of real clients, matrix-nio, on a Synapse and on ours: everybody can read everything.

Somebody logs in, somebody logs out, and each server is away for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import Pair
from .servers import Homeserver, stopped

if TYPE_CHECKING:
    from tests.e2e.people import Events, Person

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]

PATIENCE = 90.0
"""Ours looks once a minute for servers that are there again."""
_numbers = itertools.count(1)


@dataclass
class Conversation:
    """A room, the devices in it, and what was said while each of them was there."""

    folder: Path
    room_id: str = ""
    expected: dict[Person, list[str]] = field(default_factory=dict)
    heard: dict[Person, Events] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    before: dict[Person, set[str]] = field(default_factory=dict)
    """The events that had been sent before a device was there."""

    @contextlib.asynccontextmanager
    async def device(self, server: Homeserver, name: str, *, again: bool = False) -> AsyncIterator[Person]:
        """Yield a new device of a user, registered before unless they log in `again`."""
        from tests.e2e.people import Events, person

        store = self.folder / f"store{next(_numbers)}"
        store.mkdir()
        async with person(server.url, name, store=store, registered=again, kind=_unchecked()) as client:
            self.heard[client] = Events(client)
            await client.keys_upload()
            await client.sync()
            self.expected[client], self.before[client] = [], set(self.sent)
            yield client

    async def say(self, speaker: Person, text: str) -> None:
        """Send a message for all devices that are there."""
        from tests.e2e.people import ok

        if speaker.should_query_keys:
            ok(await speaker.keys_query())
        content = {"msgtype": "m.text", "body": text}
        answer = await speaker.room_send(
            self.room_id, "m.room.message", content, ignore_unverified_devices=True
        )
        self.sent.add(ok(answer).event_id)
        for texts in self.expected.values():
            texts.append(text)

    async def all_hear(self) -> None:
        for client, expected in self.expected.items():
            try:
                await client.sync_until(partial(self._has_heard, client, expected), patience=PATIENCE)
            except TimeoutError:
                heard = self.heard[client].bodies()
                raise AssertionError(f"{client.user_id} {client.device_id} has read {heard}") from None

    def _has_heard(self, client: Person, texts: list[str]) -> bool:
        return set(texts) <= set(self.heard[client].bodies())

    async def leave(self, client: Person) -> None:
        """Log a device out."""
        from tests.e2e.people import ok

        del self.expected[client]
        ok(await client.logout())

    async def knows_devices(self, client: Person, user_id: str, device_ids: set[str]) -> None:
        """Sync until the client knows exactly these devices of a user, besides itself."""
        from tests.e2e.people import ok

        def known() -> set[str]:
            return {device.id for device in client.device_store.active_user_devices(user_id)}

        async with asyncio.timeout(PATIENCE):
            while known() != device_ids:
                await client.sync(timeout=3000)
                if client.should_query_keys:
                    ok(await client.keys_query())


def _unchecked() -> type[Person]:
    """Return a client that accepts a Synapse's answers, which don't always match the specification."""
    from tests.e2e.people import Person

    class Unchecked(Person):
        def check(self, exchange: Any) -> None:
            pass

    return Unchecked


def test_an_encrypted_room_through_logins_logouts_and_outages(pair: Pair, tmp_path: Path) -> None:
    pytest.importorskip("nio", reason="matrix-nio is not installed")
    pytest.importorskip("vodozemac", reason="matrix-nio's e2e extra is not installed")
    asyncio.run(_whisper(pair, Conversation(tmp_path)))


async def _whisper(pair: Pair, talk: Conversation) -> None:
    import nio

    from tests.e2e.people import ok
    from tests.e2e.test_encrypted_room import ENCRYPTION, in_touch

    names = f"carol{next(_numbers)}", f"dave{next(_numbers)}"
    async with talk.device(pair.host, names[0]) as carol, talk.device(pair.guest, names[1]) as dave:
        created = await carol.room_create(invite=[dave.user_id], initial_state=[ENCRYPTION])
        talk.room_id = room_id = ok(created).room_id
        await dave.sync_until(lambda: room_id in dave.invited_rooms)
        ok(await dave.join(room_id))
        await carol.sync_until(lambda: in_touch(carol, room_id, dave))
        await dave.sync_until(lambda: in_touch(dave, room_id, carol))
        await talk.say(carol, "The eagle flies at midnight")
        await talk.all_hear()
        await talk.say(dave, "Which eagle?")
        await talk.all_hear()

        # Each logs in once more: the other's next message is for the new device, too.
        async with (
            talk.device(pair.guest, names[1], again=True) as second_dave,
            talk.device(pair.host, names[0], again=True) as second_carol,
        ):
            await talk.knows_devices(carol, dave.user_id, {dave.device_id, second_dave.device_id})
            await talk.knows_devices(dave, carol.user_id, {carol.device_id, second_carol.device_id})
            await talk.knows_devices(carol, carol.user_id, {second_carol.device_id})
            await talk.knows_devices(dave, dave.user_id, {second_dave.device_id})
            for client, other in ((second_dave, carol), (second_carol, dave)):
                await client.sync_until(partial(in_touch, client, room_id, other))
            await talk.say(carol, "Hello, second Dave")
            await talk.say(dave, "Hello, second Carol")
            await talk.all_hear()

            # A server is away: what is said meanwhile is read afterwards, on all devices.
            for server, speaker, away in ((pair.guest, carol, dave), (pair.host, dave, carol)):
                with stopped(server):
                    await talk.say(speaker, f"{speaker.user_id} while the other is away")
                    await talk.say(speaker, f"{speaker.user_id} once more")
                await talk.say(away, f"{away.user_id} is back")  # which tells the other server, too
                await talk.all_hear()

            # Somebody logs out, and nobody encrypts for that device any more.
            await talk.leave(second_dave)
            await talk.knows_devices(carol, dave.user_id, {dave.device_id})
            # While the guest's server is away, the host's second device goes and a third one comes.
            with stopped(pair.guest):
                await talk.leave(second_carol)
                async with talk.device(pair.host, names[0], again=True) as third_carol:
                    await talk.knows_devices(carol, carol.user_id, {third_carol.device_id})
                    await talk.say(carol, "A new device while you were away")
                    await third_carol.sync_until(lambda: in_touch(third_carol, room_id, dave))
                    del talk.expected[third_carol]
            await talk.say(dave, "Back again")
            await talk.all_hear()
            await talk.knows_devices(dave, carol.user_id, {carol.device_id, third_carol.device_id})
            await talk.say(dave, "I see it")
            await talk.all_hear()
        for client, heard in talk.heard.items():
            unread = {event.event_id for event in heard.timeline if isinstance(event, nio.MegolmEvent)}
            assert unread <= talk.before[client], "only what was said before a device was there"

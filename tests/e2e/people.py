"""People with a Matrix client: matrix-nio over HTTP, with every exchange held to the specification."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import nio
from nio import responses

from tests import openapi
from tests.e2e.raw import PASSWORD

Answer = TypeVar("Answer", bound=responses.Response)
PATIENCE = 60.0


class Person(nio.AsyncClient):  # type: ignore[misc]
    """A matrix-nio client that checks what passes over the wire."""

    async def send(self, method, path, data=None, headers=None, trace_context=None, timeout=None):
        body = await _collect(data)
        if body is None and method == "POST":
            body = b"{}"  # the library leaves out what the specification requires
        response = await super().send(method, path, body, headers, trace_context, timeout)
        self.check(
            openapi.Exchange(
                method, path, body or b"", response.status, dict(response.headers), await response.read()
            )
        )
        return response

    def check(self, exchange: openapi.Exchange) -> None:
        """Raise AssertionError for an exchange that the specification doesn't allow."""
        openapi.check(exchange)

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of a request that the library has no method for, which must succeed."""
        data = None if body is None else nio.Api.to_json(body)
        headers = {"Authorization": f"Bearer {self.access_token}", "Content-Type": "application/json"}
        response = await self.send(method, f"/_matrix/client/v3{path}", data, headers)
        assert response.status == 200, await response.text()
        return await response.json()

    async def sync_until(
        self, found: Callable[[], object], *, since: str | None = None, patience: float = PATIENCE
    ) -> None:
        """Sync with long polls until `found` says so."""

        async def go_on() -> None:
            while not found():
                ok(await self.sync(timeout=10_000, since=since))

        await asyncio.wait_for(go_on(), patience)


async def _collect(data: Any) -> bytes | None:
    """Return a request's body, from whatever the library streams it."""
    if data is None or isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode()
    return b"".join([chunk if isinstance(chunk, bytes) else chunk.encode() async for chunk in data])


def ok(response: Any, kind: type[Answer] | None = None) -> Any:
    """Return a response. Raises AssertionError if it is an error."""
    assert not isinstance(response, responses.ErrorResponse), response
    assert kind is None or isinstance(response, kind), response
    return response


@asynccontextmanager
async def person(
    url: str,
    name: str,
    *,
    store: Path | None = None,
    registered: bool = False,
    kind: type[Person] = Person,
) -> AsyncIterator[Person]:
    """Return a client of a user on a new device. Register the user if `registered` doesn't say that it
    exists.
    """
    config = nio.AsyncClientConfig(
        encryption_enabled=store is not None, store_sync_tokens=False, max_limit_exceeded=0, max_timeouts=0
    )
    client = kind(url, name, store_path=str(store) if store else "", config=config)
    try:
        if not registered:
            ok(await client.register(name, PASSWORD), responses.RegisterResponse)
            ok(await client.logout(), responses.LogoutResponse)
        ok(await client.login(PASSWORD, device_name=f"{name}'s device"), responses.LoginResponse)
        yield client
    finally:
        await client.close()


class Events:
    """What a client was told of by its syncs, in order."""

    def __init__(self, client: nio.AsyncClient) -> None:
        self.timeline: list[nio.Event] = []
        self.ephemeral: list[Any] = []
        self.to_device: list[Any] = []
        client.add_event_callback(self._on_event, nio.Event)
        client.add_ephemeral_callback(self._on_ephemeral, nio.EphemeralEvent)
        client.add_to_device_callback(self._on_to_device, nio.ToDeviceEvent)

    async def _on_event(self, room: Any, event: nio.Event) -> None:
        self.timeline.append(event)

    async def _on_ephemeral(self, room: Any, event: Any) -> None:
        self.ephemeral.append(event)

    async def _on_to_device(self, event: Any) -> None:
        self.to_device.append(event)

    def bodies(self) -> list[str]:
        return [event.body for event in self.timeline if isinstance(event, nio.RoomMessageText)]

    def of(self, kind: type[Answer]) -> list[Any]:
        """Return the events of one kind, from all sections."""
        return [
            event for event in (*self.timeline, *self.ephemeral, *self.to_device) if isinstance(event, kind)
        ]


def text(body: str) -> dict[str, str]:
    return {"msgtype": "m.text", "body": body}

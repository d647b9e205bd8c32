"""The raw events of cases, made by the local gateway as AWS makes them, the same each time."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from typing import Any
from unittest import mock
from urllib.parse import quote

from local_cloud.gateway import events
from local_cloud.gateway.routes import Match, Routes
from local_cloud.replay.deployment import VIEWER_SECRET
from local_cloud.replay.fixtures import fill
from local_cloud.replay.worlds import World
from murmuration.endpoint import Http, discover
from tests.fixtures_cases import Case
from tests.fixtures_stage import fixed_randomness

CLIENT_ADDRESS = "203.0.113.7"


@functools.cache
def routes() -> Routes:
    """The resource tree of all HTTP functions."""
    return Routes(
        (function.route.method, function.route.path, function)
        for function in discover()
        if isinstance(function.route, Http)
    )


class _At:
    """The module `time`, stopped."""

    strftime, gmtime = staticmethod(time.strftime), staticmethod(time.gmtime)

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def time(self) -> float:
        return self._now_ms / 1000


def clock_of(case: Case, world: World) -> int:
    """When the event comes; worlds without a clock are of the time of the first."""
    from tests.fixtures_scene import START

    return (world.clock or START) + case.after


def module_of(case: Case) -> str:
    """The module of the function that the case is for."""
    return ".".join(("functions", *case.name.split("/")[:-1]))


def make_event(case: Case, world: World) -> dict[str, Any]:
    """The raw event. Raises LookupError for a request that no function serves."""
    if case.event is not None:
        filled: dict[str, Any] = fill(dict(case.event), world.names)
        return filled
    method, _, uri = case.request.partition(" ")
    encoded = {name: quote(value, safe="") for name, value in world.names.items()}
    path, _, query = str(fill(uri, encoded)).partition("?")
    body = _body(case, world)
    request = events.HttpRequest(method, path, query, _headers(case, world, body), CLIENT_ADDRESS, "HTTP/1.1")
    match = routes().match(path, method)
    if match is None or match.function is None:
        raise LookupError(f"no function serves {case.request}")
    if module_of(case) != getattr(match.function, "module", None):
        raise LookupError(f"{case.name}: {case.request} is served by {match.function.name}")
    with (
        mock.patch.object(events, "time", _At(clock_of(case, world))),
        fixed_randomness(case.name),
    ):
        return events.http_event(request, _with_lasting_id(match), body, VIEWER_SECRET)


def _body(case: Case, world: World) -> bytes:
    if case.body is None or isinstance(case.body, bytes):
        return case.body or b""
    return json.dumps(fill(case.body, world.names), ensure_ascii=False).encode()


def _headers(case: Case, world: World, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = {"accept": "*/*", "user-agent": "fixtures/1.0"}
    if body:
        headers["content-type"] = "application/json"
    if case.by is not None:
        headers["authorization"] = f"Bearer {world.names.get(f'{case.by}_token', case.by)}"
    headers |= {name.lower(): fill(value, world.names) for name, value in case.headers.items()}
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def _with_lasting_id(match: Match) -> Match:
    """The match with a resource ID that doesn't change when other resources come."""
    digest = hashlib.blake2b(match.resource.path.encode(), digest_size=4).hexdigest()
    return match._replace(resource=dataclasses.replace(match.resource, id=digest[:6]))

"""Makes small functions for the local cloud to serve."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]


@dataclass
class Routed:
    """A handler with a route, as discovery expects; also a discovered function, by itself."""

    handler_function: Callable[[Event, Any], Any]
    route: Any
    name: str = "test-function"
    module: str = "tests"
    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event, context: Any) -> Any:
        assert json.loads(json.dumps(event)) == event, "an event must survive being JSON"
        self.events.append(event)
        return self.handler_function(event, context)

    @property
    def handler(self) -> Callable[[Event, Any], Any]:
        return self


def routed(route: Any) -> Callable[[Callable[[Event, Any], Any]], Routed]:
    def decorate(function: Callable[[Event, Any], Any]) -> Routed:
        return Routed(function, route, name=f"test-{function.__name__}")

    return decorate


def answer(body: Any, status: int = 200, **headers: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", **headers},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }

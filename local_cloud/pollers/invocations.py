"""Lambda's asynchronous invocations: `Invoke` with the type `Event`.

An event is queued, and its function runs as soon as its reserved concurrency allows. The caller doesn't learn
the outcome. As in the deployment, an event whose function fails isn't tried again. Waiting events are lost
when the process ends, as Lambda may lose them.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local_cloud.aws.patch import AwsError, Operation
from local_cloud.config import Chaos
from local_cloud.lambdas import Function, FunctionError, Lambdas

AT_ONCE = 10
"""How many invocations of a queue's worker the deployment reserves."""


@dataclass(slots=True)
class _Queue:
    function: Function
    events: deque[dict[str, Any]] = field(default_factory=deque)
    running: int = 0


class Invocations:
    """The functions that can be invoked asynchronously, by their physical names."""

    def __init__(
        self, lambdas: Lambdas, *, timeout: float, chaos: Chaos = "none", at_once: int = AT_ONCE
    ) -> None:
        self._lambdas = lambdas
        self._timeout = timeout
        self._times = 1 if chaos == "none" else 2
        self._at_once = at_once
        self._queues: dict[str, _Queue] = {}
        self._lock = threading.Lock()
        self._closed = False

    def add(self, name: str, function: Function) -> None:
        """Register a function under this name."""
        self._queues[name] = _Queue(function)

    def operations(self) -> Mapping[str, Operation]:
        return {"Invoke": self.invoke}

    def invoke(self, params: dict[str, Any]) -> dict[str, Any]:
        """Queue an event. Raises AwsError."""
        queue = self._queues.get(params["FunctionName"])
        if queue is None:
            raise AwsError("ResourceNotFoundException", f"Function not found: {params['FunctionName']}", 404)
        if params.get("InvocationType") != "Event":
            raise AwsError("InvalidParameterValueException", "The local cloud invokes for events only")
        event = json.loads(params.get("Payload") or "{}")
        with self._lock:
            for _ in range(self._times):  # Lambda may deliver an event more than once
                queue.events.append(event)
                if queue.running < self._at_once and not self._closed:
                    queue.running += 1
                    self._lambdas.submit(lambda: self._run(queue))
        return {"StatusCode": 202}

    def close(self) -> None:
        """Start no further functions."""
        with self._lock:
            self._closed = True

    def _run(self, queue: _Queue) -> None:
        """Run a function for its queued events until there are none."""
        while True:
            with self._lock:
                if not queue.events or self._closed:
                    queue.running -= 1
                    return
                event = queue.events.popleft()
            try:
                self._lambdas.invoke(queue.function, event, self._timeout)
            except FunctionError:
                continue

"""EventBridge schedules: calls a function at a fixed rate, the first time one interval after the start."""

from __future__ import annotations

import re
import threading
import time
import uuid
from typing import TYPE_CHECKING

from local_cloud.lambdas import Function, FunctionError, Lambdas
from local_cloud.names import ACCOUNT, REGION

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import LambdaEvent

_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}


class UnknownSchedule(Exception):
    """The expression isn't a rate."""


def interval(expression: str) -> float:
    """Return the seconds between two calls of `rate(N unit)`. Raises UnknownSchedule, for cron expressions
    too.
    """
    match = re.fullmatch(r"rate\((\d+) (second|minute|hour|day)s?\)", expression)
    if match is None or match[1] == "0":
        raise UnknownSchedule(f"{expression!r}: the local cloud knows rate(N minutes), hours and days only")
    return int(match[1]) * _UNITS[match[2]]


class ScheduleMapping:
    """One schedule, one function."""

    def __init__(self, function: Function, expression: str, lambdas: Lambdas, *, timeout: float) -> None:
        self._function = function
        self._interval = interval(expression)
        self._lambdas = lambdas
        self._timeout = timeout
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"schedule-{function.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                event = scheduled_event(self._function.name)
                self._lambdas.invoke(self._function, event, self._timeout)
            except FunctionError:
                continue


def scheduled_event(name: str) -> LambdaEvent:
    """Return the event that EventBridge sends to the function of this name."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time())),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"],
        "detail": {},
    }

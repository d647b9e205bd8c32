"""Lambda: invokes functions in threads, each with a context, and limits how many run at once."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from local_cloud.names import function_arn
from local_cloud.permissions import acting_for, module_of, queue_of

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import LambdaEvent

log = logging.getLogger("local_cloud.lambda")

current_function: ContextVar[str | None] = ContextVar("current_function", default=None)
"""The name of the function that this thread runs."""


class Function(Protocol):
    """A discovered function; see `murmuration.endpoint.discovery.Function`."""

    @property
    def name(self) -> str: ...
    @property
    def handler(self) -> Callable[[Any, Any], Any]: ...
    @property
    def route(self) -> Any: ...


class LambdaContext:
    """The `context` argument of a handler."""

    __slots__ = ("_deadline", "aws_request_id", "function_name", "memory_limit_in_mb")

    function_version = "$LATEST"
    client_context = None
    identity = None

    def __init__(self, function_name: str, request_id: str, timeout: float, memory: int = 512) -> None:
        self.function_name = function_name
        self.aws_request_id = request_id
        self.memory_limit_in_mb = str(memory)
        self._deadline = time.monotonic() + timeout

    @property
    def invoked_function_arn(self) -> str:
        return function_arn(self.function_name)

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return f"local/[$LATEST]{self.aws_request_id}"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class FunctionError(Exception):
    """The function raised; the log has its traceback."""


class Lambdas:
    """The threads that run functions: as many as needed up to `concurrency`; further invocations wait."""

    def __init__(self, concurrency: int) -> None:
        self._limit = concurrency
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._backlog = 0
        self._closed = False
        self.on_invocation: Callable[[str, float], None] = lambda _name, _seconds: None
        """Called after each run with the function, and how long it ran."""

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` in a thread. It must not raise."""
        with self._lock:
            if self._closed:
                return
            if self._idle:
                self._idle -= 1
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"lambda-{self._threads}", daemon=True).start()
            else:
                self._backlog += 1
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                if self._backlog:
                    self._backlog -= 1
                else:
                    self._idle += 1

    def close(self) -> None:
        """End idle threads. Running functions end with the process."""
        with self._lock:
            self._closed = True
            threads = self._threads
        for _ in range(threads):
            self._jobs.put(None)

    def invoke(self, function: Function, event: LambdaEvent, timeout: float) -> Any:
        """Run the function in this thread and return its answer. Raises FunctionError, after logging the
        function's error.
        """
        request_id = str(uuid.uuid4())
        token = current_function.set(function.name)
        started = time.monotonic()
        try:
            with acting_for(module_of(function.handler), queue_of(function.handler)):
                return function.handler(event, LambdaContext(function.name, request_id, timeout))
        except Exception as error:
            log.exception("function %s failed, request %s", function.name, request_id)
            raise FunctionError(f"{type(error).__name__}: {error}") from error
        finally:
            current_function.reset(token)
            self.on_invocation(function.name, time.monotonic() - started)

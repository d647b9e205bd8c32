"""Clients of AWS services: botocore alone (boto3 costs a cold start 20 ms more and adds nothing here)."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import threading
from collections.abc import Iterator
from typing import Any

_making = threading.Lock()


@functools.cache
def session() -> Any:
    """Return this process's botocore session, without the handlers of services that are never called.

    Registering all handlers takes a seventh of a cold start.
    """
    from botocore.session import Session

    made = Session(include_builtin_handlers=False)
    _register_handlers(made, ("", "*"))
    if _is_lambda():
        _look_no_further(made)
    return made


def _is_lambda() -> bool:
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ


def _look_no_further(made: Any) -> None:
    """Take credentials only from the environment, where Lambda puts them, so that no other provider is
    imported.
    """
    from botocore.credentials import CredentialResolver, EnvProvider

    made.register_component("credential_provider", CredentialResolver([EnvProvider()]))


def _register_handlers(made: Any, subjects: tuple[str, ...]) -> None:
    """Register the handlers of events such as `before-call.<subject>.…`. Doing so again is harmless."""
    from botocore import handlers

    emitter = made.get_component("event_emitter")
    register = {
        None: emitter.register,
        handlers.REGISTER_FIRST: emitter.register_first,
        handlers.REGISTER_LAST: emitter.register_last,
    }
    for number, (event, handler, *place) in enumerate(handlers.BUILTIN_HANDLERS):
        kind, _, rest = event.partition(".")
        if rest.partition(".")[0] in subjects and kind != "docs":
            register[place[0] if place else None](event, handler, unique_id=f"builtin-{number}")


def make_client(service: str, **options: Any) -> Any:
    """Return a client of `service` that is configured for short calls from a function."""
    with _making, _not_collecting():
        from botocore.config import Config

        config = Config(
            connect_timeout=3,
            read_timeout=options.pop("read_timeout", 25),
            retries={"mode": "standard", "total_max_attempts": 4},
            max_pool_connections=32,
            tcp_keepalive=True,
            proxies={}
            if _is_lambda()
            else None,  # otherwise botocore imports urllib.request to look at the environment
            user_agent="murmuration",  # otherwise botocore builds it twice for each call, a tenth of its CPU
        )
        made = session()
        _register_handlers(made, (service,))
        return made.create_client(service, config=config, **options)


@contextlib.contextmanager
def _not_collecting() -> Iterator[None]:
    """Pause garbage collection: the objects that importing botocore creates are never garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

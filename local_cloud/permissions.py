"""IAM for functions: a call is refused if the role of the function's module doesn't allow it.

The roles are the deployment's own (`infra_shared.grants`). Calls from outside of a function, such as the
local cloud's own reading of queues and streams, are allowed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from infra_shared.grants import GRANTS, covers, file_of
from infra_shared.needs import QUEUES, Need, UnknownRequest, needs
from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed, ServiceError

DENIED = "AccessDeniedException"

_module: ContextVar[str | None] = ContextVar("acting_module", default=None)
_queue: ContextVar[str | None] = ContextVar("acting_queue", default=None)
_installed = False


OF_A_ROUTE = frozenset(("find", "receive", "delete", "ring"))
"""The actions that a queue's worker may perform on its queue."""


@contextmanager
def acting_for(module: str | None, queue: str | None = None) -> Iterator[None]:
    """Require the permissions of a module of functions for calls within the block.

    `queue` is the queue from which the function takes messages.
    """
    token, of_queue = _module.set(module), _queue.set(queue)
    try:
        yield
    finally:
        _module.reset(token)
        _queue.reset(of_queue)


def queue_of(handler: Any) -> str | None:
    """Return the queue from which a function takes messages; None if it has none."""
    from murmuration.endpoint import Queue

    route = getattr(handler, "route", None)
    return route.name if isinstance(route, Queue) else None


def module_of(handler: Any) -> str | None:
    """Return the module of a function's entry point, such as `client_server.rooms`; None for other code."""
    function = getattr(handler, "function", None)
    name = getattr(function, "__module__", "")
    return name.removeprefix("functions.").rpartition(".")[0] if name.startswith("functions.") else None


def install() -> None:
    """Check calls from now on, except those of botocore clients that were made before.

    The check comes before any service in this process that answers the call, whichever was installed first.
    """
    global _installed
    if not _installed:
        _installed = True
        from botocore import handlers

        calls.intercept(_check_call, first=True)
        handlers.BUILTIN_HANDLERS.append(("before-parameter-build", _check))


def _check_call(call: Call, proceed: Proceed) -> Answer:
    if refusal := _refusal(call.service, call.operation, call.parameters):
        raise ServiceError(DENIED, {"message": refusal})
    return proceed(call)


def _check(params: Mapping[str, Any], model: Any, **_: Any) -> None:
    """Raise botocore's ClientError, as for IAM's refusal, if the acting module may not do this."""
    if refusal := _refusal(model.service_model.service_name, model.name, params):
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": DENIED, "Message": refusal}}, model.name)


def _refusal(service: str, operation: str, parameters: Mapping[str, Any]) -> str | None:
    """Return why the acting module's role doesn't allow a request; None if it does."""
    module = _module.get()
    if module is None:
        return None
    from murmuration.settings import settings

    own, prefix = _queue.get(), settings().prefix
    if service == "dynamodb" and operation in _OFTEN_CALLED:
        # Nearly all calls are of this kind, and most need the same permissions.
        named = {name: parameters[name] for name in ("TableName", "IndexName") if name in parameters}
        if "RequestItems" in parameters:
            named["RequestItems"] = tuple(parameters["RequestItems"])
        return _refusal_by_names(module, own, operation, tuple(named.items()), prefix)
    return _refusal_of(module, own, service, operation, parameters, prefix)


def _allows(module: str, wanted: Need) -> bool:
    """Return whether a module has a permission, as `infra_shared.grants.allows` does."""
    exactly, openly = _granted(module)
    return wanted in exactly or any(covers(each, wanted) for each in openly)


@functools.cache
def _granted(module: str) -> tuple[frozenset[Need], tuple[Need, ...]]:
    """Return the permissions of a module, and those for all resources whose names begin with the same
    prefix.
    """
    grant = GRANTS.get(module)
    every = frozenset(grant.needs() if grant is not None else ())
    return every, tuple(each for each in every if each.resource.endswith("*"))


_OFTEN_CALLED = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem")
"""Operations whose needed permissions depend only on the names of tables and indexes."""


@functools.lru_cache(2048)
def _refusal_by_names(
    module: str, own: str | None, operation: str, named: tuple[tuple[str, Any], ...], prefix: str
) -> str | None:
    return _refusal_of(module, own, "dynamodb", operation, dict(named), prefix)


def _refusal_of(
    module: str, own: str | None, service: str, operation: str, parameters: Mapping[str, Any], prefix: str
) -> str | None:
    try:
        wanted = list(needs(service, operation, parameters, prefix))
    except UnknownRequest as error:
        return f"nobody is granted {error}"
    for need in wanted:
        if need.kind == QUEUES and need.resource == own and need.action in OF_A_ROUTE:
            continue
        if not _allows(module, need):
            what = f"{need.action} on {need.kind} {need.resource}"
            return f"the role of {module} has no permission for {what}; grant it in {file_of(module)}"
    return None

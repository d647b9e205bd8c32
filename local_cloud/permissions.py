"""IAM, as a function meets it: what the role of its module doesn't allow is refused.

The roles are the deployment's own (`infra_cdk.grants`). What runs outside a function, such as the local
cloud's own reading of queues and streams, is allowed everything.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from infra_cdk.grants import allows
from infra_cdk.needs import UnknownRequest, needs

_module: ContextVar[str | None] = ContextVar("acting_module", default=None)
_installed = False
_enforced = True
_allows = functools.cache(allows)


@contextmanager
def acting_for(module: str | None) -> Iterator[None]:
    """Have what is called meanwhile need the permissions of a module of functions."""
    token = _module.set(module)
    try:
        yield
    finally:
        _module.reset(token)


def module_of(handler: Any) -> str | None:
    """The module of a function's entry point, such as `client_server.rooms`; None for what isn't ours."""
    function = getattr(handler, "function", None)
    name = getattr(function, "__module__", "")
    return name.removeprefix("functions.").rpartition(".")[0] if name.startswith("functions.") else None


def install() -> None:
    """Check the calls of clients that are made from now on."""
    global _installed
    if not _installed:
        _installed = True
        from botocore import handlers

        handlers.BUILTIN_HANDLERS.append(("before-parameter-build", _check))


@contextmanager
def suspended() -> Iterator[None]:
    """Allow everything in this process meanwhile, for those who find out what is needed."""
    global _enforced
    _enforced = False
    try:
        yield
    finally:
        _enforced = True


def _check(params: Mapping[str, Any], model: Any, **_: Any) -> None:
    """Raises botocore's ClientError as for IAM's refusal."""
    module = _module.get()
    if module is None or not _enforced:
        return
    from murmuration.settings import settings

    service, operation = model.service_model.service_name, model.name
    try:
        wanted = list(needs(service, operation, params, settings().prefix))
    except UnknownRequest as error:
        raise _refusal(operation, f"nobody is granted {error}") from error
    for need in wanted:
        if not _allows(module, need):
            what = f"{need.action} on {need.kind} {need.resource}"
            raise _refusal(operation, f"the role of {module} has no permission for {what}")


def _refusal(operation: str, message: str) -> Exception:
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": "AccessDeniedException", "Message": message}}
    refusal: Exception = ClientError(answer, operation)
    return refusal

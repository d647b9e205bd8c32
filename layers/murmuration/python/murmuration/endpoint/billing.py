"""The one place where requests are billed: who pays, what is charged before the work, and what is corrected
after.

A user pays once a token proves who they are; `identity.authentication` names them as soon as it is verified.
Requests without a valid token are charged to their network address, and requests of other servers to the
server's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from murmuration.endpoint.routes import Auth, Http
from murmuration.identity import budgets, patience
from murmuration.transport import deadlines

if TYPE_CHECKING:
    from murmuration.endpoint.request import Request
    from murmuration.endpoint.shapes import ProxyResponse
    from murmuration.protocol.identifiers import ServerName, UserId

BASE64 = 0.75
"""The bytes that each character of a base64 body stands for; API Gateway sends some bodies as base64."""


@contextmanager
def billing(request: Request, route: Http) -> Iterator[None]:
    """Bill the work inside the block to the owner of the request, once the owner is known."""
    memory_mb = int(getattr(request.context, "memory_limit_in_mb", 512))
    deadlines.connect(patience.wait_on)
    with (
        budgets.billing(route.path, estimate=_estimate(request, route), memory_mb=memory_mb) as bill,
        patience.working(lambda: (bill.owner if bill is not None else None) or _address(request)),
    ):
        yield
    if bill is not None:
        settle(bill, lambda: _address(request))


@contextmanager
def socket_billing(route: str) -> Iterator[None]:
    """Bill a message over a WebSocket to the user of its connection. A connection without a user isn't
    billed.
    """
    with budgets.billing(route) as bill:
        yield
    if bill is not None:
        settle(bill, lambda: None)


@contextmanager
def server_billing(server_name: ServerName, route: str) -> Iterator[None]:
    """Bill a worker's work on another server's events to that server.

    The events are accepted already, so this work is never refused. If it puts the bucket into debt, the
    server's next requests are refused.
    """
    owner = budgets.server_owner(server_name)
    deadlines.connect(patience.wait_on)
    with _billing_work(owner, route), patience.working(lambda: owner, for_server=True):
        yield


@contextmanager
def user_billing(user_id: UserId, route: str, *, memory_mb: int = 512) -> Iterator[None]:
    """Bill a worker's work for a user to them, as `server_billing` does for a server."""
    deadlines.connect(patience.wait_on)
    with _billing_work(user_id, route, memory_mb=memory_mb):
        yield


@contextmanager
def _billing_work(owner: str, route: str, *, memory_mb: int = 512) -> Iterator[None]:
    with budgets.billing(route, memory_mb=memory_mb) as bill:
        try:
            yield
        finally:
            if bill is not None:
                settle(bill, lambda: owner)


def settle(bill: budgets.Bill, find_owner: Callable[[], str | None]) -> None:
    """Settle a bill: charge what the work has cost. A failure is only logged, because the answer is made
    already.
    """
    try:
        bill.settle(find_owner)
    except Exception:  # noqa: BLE001 - the client isn't to blame
        from murmuration.endpoint.logging import logger

        logger().exception("a bill wasn't settled")


def charge_address(request: Request, route: Http) -> None:
    """Charge a request that needs no token, and has none, to its network address. Raises LimitExceeded."""
    needs_none = route.auth in (Auth.NONE, Auth.OPTIONAL_ACCESS_TOKEN)
    if needs_none and request.optional_requester is None and budgets.is_billing():
        budgets.charge_to(_address(request))


def charge_server(origin: ServerName) -> None:
    """Charge a request to the server that signed it. Raises LimitExceeded."""
    budgets.charge_to(budgets.server_owner(origin))


def add_answer(response: ProxyResponse) -> None:
    """Count the bytes of a response."""
    body = response["body"]
    budgets.add((BASE64 if response["isBase64Encoded"] else 1) * len(body) / 1024 * budgets.SENT_KB)


def _address(request: Request) -> str:
    return budgets.address_owner(request.source_ip)


def _estimate(request: Request, route: Http) -> float:
    """Return the cost to charge before the work. What a client sends is stored in the database,
    except media.
    """
    if request.method in ("GET", "HEAD"):
        return budgets.ORDINARY
    kilobytes = len(request.event.get("body") or "") / 1024
    stored_as_object = route.path.startswith("/_matrix/media/")
    by_kb = budgets.OBJECT_KB if stored_as_object else budgets.BODY_KB
    return budgets.ORDINARY + kilobytes * by_kb

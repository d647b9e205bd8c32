"""Resolves a server's name to the hosts for its requests, by every branch of the specification.

Answers of hosts and name servers are cached in a table, so that functions share them, and in this process.
The addresses of names are looked up and checked for each new connection.
https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address

from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.federation.names import srv, well_known
from murmuration.federation.names.srv import SrvError, SrvRefused
from murmuration.federation.names.well_known import WellKnownError
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.identifiers import ServerName, ServerNameParts, parse_server_name
from murmuration.storage.servers import resolutions
from murmuration.storage.servers.resolutions import Resolution

DEFAULT_PORT = 8448
FIRST_RETRY_MS = 2 * 60_000
LONGEST_RETRY_MS = 60 * 60_000
STALE_MS = 7 * 86_400_000
"""How much longer a delegation stays valid while the host that gave it can't be reached."""
SERVICES = ("_matrix-fed._tcp", "_matrix._tcp")

_known: LruCache[str, Resolution] = LruCache(2000)


class NoRoute(Exception):
    """The name is not valid, or its records say that it serves no federation."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where to connect: `host` (a name, or an IP literal without brackets) and `port`.

    `host_header` is the request's Host; the certificate must be for `certificate_name`.
    """

    host: str
    port: int
    host_header: str
    certificate_name: str


def resolve(server_name: ServerName) -> tuple[Route, ...]:
    """Return the routes to a server, in the order in which to try them. Raises NoRoute.

    An IP literal, or a name with a port, needs no look-up. For any other name that this process hasn't
    cached, the table is read once.
    """
    try:
        name = parse_server_name(server_name)
    except InvalidParam as error:
        raise NoRoute(f"{server_name[:255]} is not a server name") from error
    if (direct := _direct(name, server_name)) is not None:
        return (direct,)
    known = _recall(server_name)
    current = _with_targets(server_name, _with_delegate(server_name, known))
    if current != known:
        resolutions.write(server_name, current)
    _known.put(server_name, current)
    return _routes(server_name, current)


def _recall(server_name: ServerName) -> Resolution:
    """Return the resolution that this process has cached, if it is still valid; else the table's, or an empty
    one.
    """
    known, now = _known.get(server_name), now_ms()
    if known is not None and now < known.ask_again_ms:
        return known
    return resolutions.read(server_name) or known or Resolution()


def forget() -> None:
    """Forget what this process has cached; the table keeps it."""
    _known.clear()


def _direct(name: ServerNameParts, text: str) -> Route | None:
    """Return the route to an IP literal, or to a name with a port; None for a name without a port."""
    literal = _literal(name.host)
    if literal is None and name.port is None:
        return None
    if name.port is not None and not 0 < name.port < 65_536:
        raise NoRoute(f"{text} has a port that isn't from 1 to 65535")
    host = literal or name.host
    return Route(host, DEFAULT_PORT if name.port is None else name.port, text, host)


def _literal(host: str) -> str | None:
    """Return an IP literal without its brackets; None for a name."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return None


def _with_delegate(server_name: ServerName, known: Resolution) -> Resolution:
    """Return `known` with the currently valid delegation, or without one."""
    now = now_ms()
    if now < known.ask_again_ms:
        return known
    try:
        found = well_known.fetch(server_name)
    except WellKnownError as error:
        wait = min(FIRST_RETRY_MS << min(known.failures, 10), LONGEST_RETRY_MS)
        kept = known.delegate if error.passing and now < known.stale_until_ms else ""
        return replace(known, delegate=kept, ask_again_ms=now + wait, failures=known.failures + 1)
    until = now + found.lifetime_s * 1000
    return replace(
        known, delegate=found.server_name, ask_again_ms=until, stale_until_ms=until + STALE_MS, failures=0
    )


def _with_targets(server_name: ServerName, known: Resolution) -> Resolution:
    """Return `known` with the currently valid SRV records, if any are to be looked up."""
    name = known.delegate or server_name
    if _direct(parse_server_name(name), name) is not None:
        return known
    now = now_ms()
    if known.targets_of == name and now < known.targets_until_ms:
        return known
    try:
        records = _look_up(name)
    except SrvError:
        kept = known.targets if known.targets_of == name else ()
        return replace(known, targets_of=name, targets=kept, targets_until_ms=now + FIRST_RETRY_MS)
    return replace(
        known, targets_of=name, targets=records.targets, targets_until_ms=now + records.lifetime_s * 1000
    )


def _look_up(name: str) -> srv.Records:
    """Return the records of the first service that has any. Raises SrvError, NoRoute.

    Some name servers fail for a name that they don't have, so after a failure the other service is looked up
    too.
    """
    records, failed = srv.Records((), FIRST_RETRY_MS // 1000), None
    for service in SERVICES:
        try:
            records = srv.look_up(f"{service}.{name}")
        except SrvRefused as error:
            raise NoRoute(str(error)) from error
        except SrvError as error:
            failed = error
            continue
        if records.targets:
            return records
    if failed is not None:
        raise failed
    return records


def _routes(server_name: ServerName, known: Resolution) -> tuple[Route, ...]:
    name = known.delegate or server_name
    if (direct := _direct(parse_server_name(name), name)) is not None:
        return (direct,)
    if known.targets:
        # The certificate must be for the name before the record: answers of name servers aren't
        # authenticated.
        return tuple(Route(host, port, name, name) for host, port in known.targets)
    return (Route(name, DEFAULT_PORT, name, name),)

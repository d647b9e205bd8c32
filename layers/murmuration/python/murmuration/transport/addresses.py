"""Resolves names to addresses, and decides which addresses may be connected to.

An address counts as public if the whole internet reaches it. Addresses that contain an IPv4 address (mapped,
6to4, NAT64) are judged by that address too.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import AddressRefused, NotConnected

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "3fff::/20")  # protocol assignments, Teredo, examples
)
_NOT_PUBLIC_IPV4 = tuple(
    ipaddress.IPv4Network(network) for network in ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4")
)


@dataclass(frozen=True, slots=True)
class Reach:
    """The IP addresses that may be connected to. `private` also allows those that aren't public, including
    the loopback.
    """

    public: bool = True
    loopback: bool = False
    private: bool = False

    def allows(self, address: IPAddress) -> bool:
        """Return whether a connection to `address` may be made."""
        if is_public(address):
            return self.public
        return self.private or (self.loopback and _plain(address).is_loopback)


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """An address that was checked, and the port."""

    address: IPAddress
    port: int


def is_public(address: IPAddress) -> bool:
    """Return whether the address belongs to the public internet and to one host."""
    plain = _plain(address)
    if isinstance(plain, ipaddress.IPv4Address):
        return plain.is_global and not plain.is_multicast and not _within(plain, _NOT_PUBLIC_IPV4)
    if plain in _NAT64:
        return is_public(ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF))
    if plain.sixtofour is not None:
        return is_public(plain.sixtofour)
    return plain in _GLOBAL_UNICAST and plain.is_global and not _within(plain, _NOT_PUBLIC)


def _plain(address: IPAddress) -> IPAddress:
    """Return the IPv4 address in an IPv4-mapped IPv6 address; any other address unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(address: IPAddress, networks: Sequence[Any]) -> bool:
    return any(address in network for network in networks)


def resolve(host: str, port: int, reach: Reach, deadline: Deadline) -> list[SocketAddress]:
    """Return the addresses of `host` that `reach` allows, IPv4 first, from the machine's own resolver.

    Raises AddressRefused if there are only others, NotConnected if there is none or the resolver takes too
    long. The resolver can't be stopped: its thread ends by itself, and its answer is dropped.
    """
    try:
        found = _look_up(host, port, deadline)
        # Lambda's network is IPv4. If a host has both, IPv4 works.
        ordered = sorted(found, key=lambda each: each[0] != socket.AF_INET)
        every = [SocketAddress(ipaddress.ip_address(each[4][0]), int(each[4][1])) for each in ordered]
    except (OSError, ValueError) as error:
        raise NotConnected(f"the host {host} has no address") from error
    allowed = [each for each in dict.fromkeys(every) if reach.allows(each.address)]
    if not allowed:
        raise AddressRefused(f"the host {host} has an address that isn't public, or may not be asked")
    return allowed


def _look_up(host: str, port: int, deadline: Deadline) -> list[Any]:
    answers: SimpleQueue[list[Any] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left())
    except Empty as error:
        raise NotConnected(f"the resolver took too long for {host}") from error
    if isinstance(answer, Exception):
        raise answer
    return answer

"""Connections to other servers: made to a checked address, kept for the next request, limited in time.

Every read and write gets the remaining time of the whole request, so that a server which sends a byte now and
then can't delay it. `http.client` writes the target unchanged: a signature covers it.
"""

from __future__ import annotations

import functools
import http.client
import io
import select
import socket
import ssl
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from murmuration.transport.addresses import Reach, SocketAddress, resolve
from murmuration.transport.deadlines import LOOK_S, Deadline
from murmuration.transport.errors import NotConnected, TransportError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_SECONDS = 5.0
MOST_ADDRESSES = 3
"""How many addresses of a name are tried."""
IDLE_SECONDS = 45.0
KEPT_FOR_ONE = 4
KEPT = 200


@dataclass(frozen=True, slots=True)
class Peer:
    """The address to connect to, and the name that its certificate must have. IP literals have no brackets.

    `ca_file` names further certificate authorities, besides those of the system.
    """

    host: str
    port: int
    certificate_name: str
    reach: Reach
    tls: bool = True
    ca_file: str = ""


class _TimedReader(io.RawIOBase):
    def __init__(self, timed: TimedSocket) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._timed.receive_into(buffer)


class TimedSocket:
    """A socket whose every operation ends by `deadline`, which each request sets anew."""

    def __init__(self, inner: socket.socket, deadline: Deadline) -> None:
        self._inner = inner
        self.deadline = deadline

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._inner.settimeout(self.deadline.left())
            view = view[self._inner.send(view[:65_536]) :]

    def receive_into(self, buffer: WriteableBuffer) -> int:
        while True:  # also checks whether to wait on while nothing comes
            self._inner.settimeout(self.deadline.left(LOOK_S))
            try:
                return self._inner.recv_into(buffer)
            except TimeoutError:
                continue

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self), 65_536)

    def close(self) -> None:
        """Do nothing: `http.client` closes a socket while the answer's body has still to be read from it."""

    def end(self) -> None:
        self._inner.close()

    def is_quiet(self) -> bool:
        """Return whether there is nothing to read. A kept connection with something to read was closed."""
        try:
            poll = select.poll()
            poll.register(self._inner, select.POLLIN)
            return not poll.poll(0)
        except (OSError, ValueError):
            return False


class Connection(http.client.HTTPConnection):
    """A connection to a peer; `used` says whether it has served a request before."""

    timed: TimedSocket

    def __init__(self, peer: Peer, deadline: Deadline) -> None:
        """Connect. Raises NotConnected."""
        super().__init__(peer.host, peer.port)
        self.used = False
        self.idle_since = 0.0
        self.timed = TimedSocket(_connect(peer, deadline), deadline)
        self.sock: Any = self.timed
        self.auto_open = 0

    def end(self) -> None:
        self.timed.end()


def _connect(peer: Peer, deadline: Deadline) -> socket.socket:
    addresses = resolve(peer.host, peer.port, peer.reach, deadline)
    failure: Exception | None = None
    for address in addresses[:MOST_ADDRESSES]:
        try:
            return _connect_to(peer, address, deadline)
        except (OSError, TransportError) as error:
            failure = error
    raise NotConnected(f"{peer.host} was not reached: {type(failure).__name__}") from failure


def _connect_to(peer: Peer, address: SocketAddress, deadline: Deadline) -> socket.socket:
    plain = socket.create_connection((str(address.address), address.port), deadline.left(CONNECT_SECONDS))
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not peer.tls:
            return plain
        plain.settimeout(deadline.left(CONNECT_SECONDS))
        return _tls_context(peer.ca_file).wrap_socket(plain, server_hostname=peer.certificate_name)
    except BaseException:
        plain.close()
        raise


@functools.cache
def _tls_context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


class _Kept:
    """Connections that wait for the next request to their peer, bounded in number and age."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_peer: OrderedDict[Peer, list[Connection]] = OrderedDict()

    def take(self, peer: Peer) -> Connection | None:
        """Return a connection that still seems to be open."""
        while True:
            with self._lock:
                waiting = self._by_peer.get(peer)
                if not waiting:
                    return None
                connection = waiting.pop()
                if not waiting:
                    del self._by_peer[peer]
            if time.monotonic() - connection.idle_since < IDLE_SECONDS and connection.timed.is_quiet():
                return connection
            connection.end()

    def give(self, peer: Peer, connection: Connection) -> None:
        connection.idle_since, connection.used = time.monotonic(), True
        surplus = []
        with self._lock:
            waiting = self._by_peer.setdefault(peer, [])
            self._by_peer.move_to_end(peer)
            waiting.append(connection)
            if len(waiting) > KEPT_FOR_ONE:
                surplus.append(waiting.pop(0))
            while len(self._by_peer) > KEPT:
                surplus += self._by_peer.popitem(last=False)[1]
        for each in surplus:
            each.end()

    def forget(self) -> None:
        """Close all of them."""
        with self._lock:
            every = [connection for waiting in self._by_peer.values() for connection in waiting]
            self._by_peer.clear()
        for connection in every:
            connection.end()


KEPT_CONNECTIONS = _Kept()
"""The kept connections of this process."""

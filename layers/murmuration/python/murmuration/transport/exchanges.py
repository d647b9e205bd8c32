"""One request and its answer, over a connection that is kept if possible."""

from __future__ import annotations

import http.client
import ssl
import zlib
from collections.abc import Iterator, Mapping
from types import TracebackType

from murmuration.transport.connections import KEPT_CONNECTIONS, Connection, Peer
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import AnswerTooLarge, TimedOut, TransportError

_CHUNK = 65_536


class Exchange:
    """An answer whose body has still to be read; `headers` has lower-case names.

    Leaving its context gives the connection back if the body was read to its end; otherwise it closes it.
    """

    def __init__(self, peer: Peer, connection: Connection, response: http.client.HTTPResponse) -> None:
        self._peer = peer
        self._connection = connection
        self._response = response
        self._complete = False
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.getheaders()}

    def read(self, limit: int) -> bytes:
        """Return the whole body. Raises TransportError; AnswerTooLarge once it has more than `limit`
        bytes.
        """
        return b"".join(self.chunks(limit))

    def chunks(self, limit: int) -> Iterator[bytes]:
        """Yield the body piece by piece, decompressed. Raises what `read` raises, possibly after some
        pieces.
        """
        size = 0
        for piece in self._decoded():
            size += len(piece)
            if size > limit:
                raise AnswerTooLarge(f"{self._peer.host} answered with more than {limit} bytes")
            yield piece

    def _decoded(self) -> Iterator[bytes]:
        coding = self.headers.get("content-encoding", "").strip().lower()
        if coding in ("", "identity"):
            yield from self._raw()
            return
        if coding not in ("gzip", "x-gzip"):
            raise TransportError(f"{self._peer.host} answered in the encoding {coding[:20]!r}")
        decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            for piece in self._raw():
                left = piece
                while left and not decoder.eof:
                    if out := decoder.decompress(left, _CHUNK):
                        yield out
                    left = decoder.unconsumed_tail
        except zlib.error as error:
            raise TransportError(f"{self._peer.host} answered with broken gzip") from error
        while not decoder.eof:
            if not (out := decoder.decompress(decoder.unconsumed_tail, _CHUNK)):
                raise TransportError(f"{self._peer.host} cut its answer short")
            yield out

    def _raw(self) -> Iterator[bytes]:
        try:
            while piece := self._response.read(_CHUNK):
                yield piece
        except (OSError, http.client.HTTPException, ValueError) as error:
            kind = TimedOut if isinstance(error, TimeoutError) else TransportError
            raise kind(f"{self._peer.host} broke off its answer: {type(error).__name__}") from error
        if self._response.length:
            raise TransportError(f"{self._peer.host} cut its answer short")
        self._complete = True

    def close(self) -> None:
        """Give the connection back, or close it."""
        keep = self._complete and not self._response.will_close
        self._response.close()
        if keep:
            KEPT_CONNECTIONS.give(self._peer, self._connection)
        else:
            self._connection.end()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def send(
    peer: Peer, method: str, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
) -> Exchange:
    """Send a request; `target` is sent unchanged. Redirects aren't followed.

    If a kept connection turns out to be closed, the request is sent once more over a new one, because the
    other server hasn't accepted it. Raises TransportError, NotConnected if nothing was sent.
    """
    kept = KEPT_CONNECTIONS.take(peer)
    if kept is not None:
        try:
            return _send_on(peer, kept, method, target, headers, body, deadline)
        except _Stale:
            pass
    return _send_on(peer, Connection(peer, deadline), method, target, headers, body, deadline)


class _Stale(Exception):
    """The other side had closed the kept connection."""


def _send_on(
    peer: Peer,
    connection: Connection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | None,
    deadline: Deadline,
) -> Exchange:
    connection.timed.deadline = deadline
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        elif method in ("POST", "PUT"):
            connection.putheader("Content-Length", "0")
        connection.endheaders(body)
        return Exchange(peer, connection, connection.getresponse())
    except (ConnectionError, ssl.SSLEOFError) as error:
        connection.end()
        if connection.used:
            raise _Stale from error
        raise TransportError(f"{peer.host} was not reached: {type(error).__name__}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.end()
        kind = TimedOut if isinstance(error, TimeoutError) else TransportError
        raise kind(f"{peer.host} was not reached: {type(error).__name__}") from error
    except BaseException:
        connection.end()
        raise

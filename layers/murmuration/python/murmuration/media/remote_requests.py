"""Requests a file from another server: from the federation endpoint or, if the server lacks it, the old one.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from murmuration.federation.names import policy
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Malformed, RateLimited, Refused, Unreachable
from murmuration.media.headers import content_type_of, file_name_of
from murmuration.protocol.encoding.multipart import MultipartError, Reader, boundary_of
from murmuration.protocol.errors import (
    BadGateway,
    LimitExceeded,
    MatrixError,
    NotFound,
    NotYetUploaded,
    TooLargeToServe,
)
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

MULTIPART_OVERHEAD = 65_536
"""How many bytes a multipart body may have besides the file."""
REDIRECTS = (307, 308)
OWN_ANSWERS = (502, 504)
"""Statuses with which a server says that a file is too large, or isn't uploaded yet."""
OLD_PATHS = ("v3", "r0")

TakeBytes = Callable[[int], None]
"""Called with a number of bytes before they are read; raises an error if a limit is exceeded."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The metadata of a fetched file, as its server declared it."""

    content_type: str
    file_name: str | None
    size: int


class _Sink:
    """Writes to a file up to a maximum size. Counts the bytes against the limits, one part at a time."""

    STEP = 1_000_000

    def __init__(self, file: IO[bytes], most: int, take: TakeBytes) -> None:
        self._file = file
        self._most = most
        self._take = take
        self._taken = 0
        self.size = 0
        self.body_limit = most + MULTIPART_OVERHEAD
        """The maximum size of a body; `write` gives a clearer error for a file that is too large."""

    def expect(self, size: str) -> None:
        """Check a Content-Length. Raises TooLargeToServe, LimitExceeded."""
        if size.isdecimal() and len(size) < 18:
            self._allow(int(size))

    def write(self, pieces: Iterable[bytes]) -> None:
        """Write the pieces. Raises TooLargeToServe, LimitExceeded."""
        for piece in pieces:
            self.size += len(piece)
            self._allow(self.size)
            self._file.write(piece)

    def _allow(self, size: int) -> None:
        if size > self._most:
            raise TooLargeToServe(f"The media are larger than the {self._most:,} bytes that are fetched")
        if size > self._taken:
            more = max(size - self._taken, self.STEP)
            self._take(more)
            self._taken += more


def fetch(
    server_name: ServerName,
    media_id: str,
    file: IO[bytes],
    *,
    most: int,
    seconds: float,
    timeout_ms: int,
    take: TakeBytes,
) -> Fetched:
    """Write a remote file to `file` and return its metadata.

    Raises NotFound, NotYetUploaded, LimitExceeded, TooLargeToServe; BadGateway if the server can't be reached
    or answers badly; Forbidden for a server that the operator's lists exclude.
    """
    from murmuration.transport.deadlines import Deadline
    from murmuration.transport.errors import TransportError

    deadline, sink = Deadline(seconds), _Sink(file, most, take)
    try:
        try:
            return _by_federation(server_name, media_id, sink, deadline.left(), timeout_ms)
        except Refused as error:
            if not error.is_unknown_endpoint:
                raise
        return _by_old_path(server_name, media_id, sink, deadline.left(), timeout_ms)
    except Refused as error:
        raise _refusal(server_name, error) from error
    except Unreachable as error:
        raise BadGateway(f"{server_name} can't be reached for its media") from error
    except (Malformed, MultipartError, TransportError) as error:
        raise BadGateway(f"{server_name} gave no proper answer when asked for media") from error


def _by_federation(
    server_name: ServerName, media_id: str, sink: _Sink, seconds: float, timeout_ms: int
) -> Fetched:
    path = client.path("_matrix", "federation", "v1", "media", "download", media_id)
    request = client.Request(
        "GET",
        path,
        query={"timeout_ms": timeout_ms},
        seconds=seconds,
        for_user=True,
        accept="multipart/mixed",
    )
    with client.stream(server_name, request, client.Statuses(refusals=OWN_ANSWERS)) as answer:
        sink.expect(_less(answer.headers.get("content-length", ""), MULTIPART_OVERHEAD))
        boundary = boundary_of(answer.headers.get("content-type", ""))
        parts = Reader(boundary, answer.chunks(sink.body_limit))
        parts.next_part()  # the JSON part, which has no fields yet
        headers = parts.next_part()
        if headers is None:
            raise MultipartError("the answer has one part only")
        if "location" not in headers:
            sink.write(parts.body())
            return _fetched(headers, sink)
        location = headers["location"]
    return _follow(server_name, "", location, sink, seconds)


def _by_old_path(
    server_name: ServerName, media_id: str, sink: _Sink, seconds: float, timeout_ms: int
) -> Fetched:
    """Fetch through the unauthenticated endpoints that old servers have."""
    statuses = client.Statuses(answers=REDIRECTS, refusals=OWN_ANSWERS)
    for version in OLD_PATHS:
        path = client.path("_matrix", "media", version, "download", server_name, media_id)
        request = client.Request(
            "GET",
            path,
            query={"allow_remote": False, "allow_redirect": True, "timeout_ms": timeout_ms},
            seconds=seconds,
            for_user=True,
            signed=False,
            accept="*/*",
        )
        try:
            with client.stream(server_name, request, statuses) as answer:
                if answer.status not in REDIRECTS:
                    sink.expect(answer.headers.get("content-length", ""))
                    sink.write(answer.chunks(sink.body_limit))
                    return _fetched(answer.headers, sink)
                location = answer.headers.get("location", "")
        except Refused as error:
            if error.is_unknown_endpoint and version != OLD_PATHS[-1]:
                continue
            raise
        return _follow(server_name, path, location, sink, seconds)
    raise AssertionError("there is always a last path")


def _follow(server_name: ServerName, path: str, location: str, sink: _Sink, seconds: float) -> Fetched:
    """Fetch the file at a URL that its server names. Sends no credentials, and checks the addresses."""
    from murmuration.transport import following
    from murmuration.transport.addresses import Reach
    from murmuration.transport.deadlines import Deadline

    if not location:
        raise Malformed(f"{server_name} named no place for its media")
    config = settings()
    plain = Reach(public=False, loopback=True) if config.federation_loopback else None
    way = following.Way(policy.reach(), plain, config.federation_ca)
    url = following.next_url(f"https://{server_name}{path}", location)
    with following.get(url, way, Deadline(seconds), headers={"Accept-Encoding": "gzip"}) as (_, answer):
        if answer.status != 200:
            raise Malformed(f"the place that {server_name} named answered {answer.status}")
        sink.expect(answer.headers.get("content-length", ""))
        sink.write(answer.chunks(sink.body_limit))
        return _fetched(answer.headers, sink)


def _less(length: str, overhead: int) -> str:
    return str(max(0, int(length) - overhead)) if length.isdecimal() and len(length) < 18 else ""


def _fetched(headers: Mapping[str, str], sink: _Sink) -> Fetched:
    return Fetched(
        content_type_of(headers.get("content-type")),
        file_name_of(headers.get("content-disposition", "")),
        sink.size,
    )


def _refusal(server_name: ServerName, error: Refused) -> MatrixError:
    """Return the error for a client after another server's refusal."""
    if isinstance(error, RateLimited):
        return LimitExceeded(
            f"{server_name} is asked too often for media", retry_after_ms=error.retry_after_ms
        )
    if error.errcode == NotYetUploaded.errcode:
        return NotYetUploaded("The media have not been uploaded yet")
    if error.errcode == TooLargeToServe.errcode:
        return TooLargeToServe(f"The media are too large for {server_name} to serve")
    if error.status in (400, 403, 404, 410):
        return NotFound(f"{server_name} has no such media, or doesn't give them to this server")
    return BadGateway(f"{server_name} answered {error.status} when asked for media")

"""HTTP/1.1 as services may speak it, from a socket whose other end the test holds."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from murmuration.aws import http1
from murmuration.aws.http1 import Answer, Connection, ProtocolError

Pair = tuple[Connection, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    yield Connection(ours), theirs
    ours.close()
    theirs.close()


def answer(pair: Pair, text: bytes, *, end: bool = False) -> Answer:
    connection, theirs = pair
    theirs.sendall(text)
    if end:
        theirs.shutdown(socket.SHUT_WR)
    return connection.exchange(b"POST / HTTP/1.1\r\n\r\n")


def test_content_of_a_length(pair: Pair) -> None:
    found = answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Amzn-ErrorType:  a \r\n\r\nabc")
    assert (found.status, found.content, found.closes) == (200, b"abc", False)
    assert found.headers["x-amzn-errortype"] == "a"


def test_one_after_another(pair: Pair) -> None:
    for text in (b"a", b"bc"):
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n".encode()
        assert answer(pair, head + text).content == text
    assert not pair[0].is_readable


def test_content_in_chunks(pair: Pair) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = answer(pair, head + b"3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: z\r\n\r\n")
    assert (found.content, found.closes) == (b"abcd", False)


def test_content_until_the_end(pair: Pair) -> None:
    found = answer(pair, b"HTTP/1.1 200 OK\r\n\r\nabc", end=True)
    assert (found.content, found.closes) == (b"abc", True)


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", False),
    ],
)
def test_whether_it_can_be_used_again(pair: Pair, head: bytes, closes: bool) -> None:
    assert answer(pair, head + b"Content-Length: 0\r\n\r\n").closes is closes


def test_what_comes_unasked_ends_its_use(pair: Pair) -> None:
    assert answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc").closes


def test_interim_answers_are_skipped(pair: Pair) -> None:
    found = answer(pair, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    assert (found.status, found.content) == (204, b"")


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http(pair: Pair, text: bytes) -> None:
    with pytest.raises(ProtocolError):
        answer(pair, text)


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"])
def test_an_early_end(pair: Pair, text: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        answer(pair, text, end=True)


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 200 OK\r\na: ", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
)
def test_a_head_or_line_without_end(pair: Pair, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(http1, "LARGEST_HEAD", 100)
    with pytest.raises(ProtocolError, match="too l"):
        answer(pair, text + b"a" * 200)

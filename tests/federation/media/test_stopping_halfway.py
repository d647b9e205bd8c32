"""Fetching another server's file succeeds when it stops at any write and is repeated.

A function that stopped may leave a claim behind. Until it ends, clients are told to come again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from murmuration import clock
from murmuration.aws import objects
from murmuration.aws.calls import Unreachable
from murmuration.media import remote
from tests.faults import Way, fault
from tests.federation.media.conftest import Library, two_parts
from tests.federation.media.test_fetching import DATA, PNG, get, kept
from tests.in_process import Client
from tests.rooms.people import refused


def comes_in_the_end(alice: Client, library: Library, media_id: str, patch: pytest.MonkeyPatch) -> None:
    """Check that the client gets the file on asking again, at the latest once the claim has ended."""
    with patch.context() as shortly:
        shortly.setattr(remote, "FETCH_SECONDS", 2.0)
        shortly.setattr(remote, "WAIT_STEP_S", 2.0)
        answer = get(alice, library, media_id)
    if answer.status != 200:
        refused(answer, 504, "M_NOT_YET_UPLOADED")
        with patch.context() as later:
            later.setattr(remote, "now_ms", lambda: clock.now_ms() + remote.CLAIM_MS + 1)
            answer = get(alice, library, media_id)
    assert (answer.status, answer.body) == (200, DATA)
    item = kept(library, media_id)
    assert "claim" not in item
    assert objects.size_of(item["object"]) == len(DATA)
    asked = len(library.asked)
    assert get(alice, library, media_id).body == DATA
    assert len(library.asked) == asked, "it is here now"


def test_stopping_at_each_write(
    alice: Client, library: Library, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.new = lambda _: two_parts(PNG, DATA)
    get(alice, library, "first")  # where the server is, is known then
    with fault(0) as whole:
        assert get(alice, library, "whole").status == 200
    assert whole.operations.count("TransactWriteItems") == 2, "the claim, and the file"
    for number, way in itertools.product(range(1, whole.writes + 1), (Way.BEFORE, Way.AFTER)):
        media_id = f"m{number}{way.name}"
        with fault(number, way):
            answer = get(alice, library, media_id)
        assert answer.status in (200, 500), answer.body
        comes_in_the_end(alice, library, media_id, monkeypatch)


@pytest.mark.parametrize("stored", [False, True])
def test_stopping_at_the_object(
    alice: Client, library: Library, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """The process ends, so it doesn't store a failure either."""
    library.new = lambda _: two_parts(PNG, DATA)
    put: Callable[..., Any] = objects.put

    def stop(*given: Any, **more: Any) -> None:
        if stored:
            put(*given, **more)
        raise Unreachable("as the test wants it")

    with monkeypatch.context() as patch:
        patch.setattr(objects, "put", stop)
        patch.setattr(remote, "_fail", lambda *_: None)
        assert get(alice, library).status == 500
    comes_in_the_end(alice, library, "abc", monkeypatch)

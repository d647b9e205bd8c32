"""The counted costs of media of other servers and of redirects."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.aws.calls import Usage, counting
from murmuration.media import serving
from tests.budgets.meter import Meter, Spent
from tests.federation.asking import Peer
from tests.federation.media.conftest import Library, two_parts
from tests.federation.media.test_fetching import DATA, PNG, get
from tests.in_process import Client
from tests.media.test_media import DOWNLOADS, upload


def spent_by(request: Any) -> tuple[Spent, Usage]:
    usage = Usage()
    with Meter() as meter, counting(usage):
        assert request().status == 200
    return meter.spent, usage


def test_a_file_that_is_here(alice: Client, library: Library) -> None:
    """It costs as much as a local file: the token, the item, the object."""
    library.new = lambda _: two_parts(PNG, DATA)
    get(alice, library)
    spent, usage = spent_by(lambda: get(alice, library))
    assert (spent.round_trips, spent.write_units) == (2, 0)
    assert spent.read_units <= 2
    assert (usage.object_reads, usage.object_puts) == (1, 0)


def test_the_first_who_asks(alice: Client, bob: Client, library: Library) -> None:
    """It costs the token, the item, the claim, the server's health and address, and the result."""
    library.new = lambda _: two_parts(PNG, DATA)
    get(bob, library, "other")
    spent, usage = spent_by(lambda: get(alice, library))
    assert spent.round_trips <= 5
    assert spent.read_units <= 3
    assert spent.write_units <= 5
    assert (usage.object_reads, usage.object_puts) == (1, 1)


def test_a_redirect(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function doesn't read the object."""
    monkeypatch.setattr(serving, "INLINE_BYTES", 100)
    monkeypatch.setattr("tests.in_process.PREFIXES", ("/nowhere",))
    name = upload(alice, DATA)
    usage = Usage()
    with Meter() as meter, counting(usage):
        assert alice.get(f"{DOWNLOADS[0]}/{name}").status == 307
    assert (meter.spent.round_trips, meter.spent.write_units) == (2, 0)
    assert (usage.object_reads, usage.object_puts) == (0, 0)


def test_what_another_server_is_given(alice: Client, server: Peer) -> None:
    """It costs the item and the object. The keys and the health of the server are known already."""
    media_id = upload(alice, DATA).partition("/")[2]
    path = f"/_matrix/federation/v1/media/download/{media_id}"
    server.get(path)
    spent, usage = spent_by(lambda: server.get(path))
    assert spent.round_trips <= 3
    assert (usage.object_reads, usage.object_puts) == (1, 0)

"""Presence between our server and a Synapse that federate presence."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from local_cloud.federate.certificates import Authority

from .conftest import Pair
from .people import Person, eventually
from .servers import Ours, Theirs
from .test_talking import shared_room

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]


@pytest.fixture(scope="module")
def servers(
    python_with_synapse: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ours, Theirs]]:
    ours = Ours(tmp_path_factory.mktemp("ours"), authority)
    ours.cloud.environment["MURMURATION_FEDERATED_PRESENCE"] = "on"
    theirs = Theirs(python_with_synapse, tmp_path_factory.mktemp("synapse"), authority, presence=True)
    try:
        ours.start()
        theirs.start()
        yield ours, theirs
    finally:
        theirs.stop()
        ours.stop()


def status(of: Person) -> str:
    return f"/presence/{quote(of.user_id, safe='')}/status"


def test_each_sees_who_is_there(pair: Pair) -> None:
    """Each side gets the other's status and status message, and learns when a user goes offline."""
    host, guest, _ = shared_room(pair, "10")

    def say(one: Person, presence: str, words: str) -> None:
        one.call("PUT", status(one), {"presence": presence, "status_msg": words})

    def sees(one: Person, other: Person, presence: str, words: str) -> bool:
        one.sync(0)
        if presence == "online":
            other.sync(0)
        found = one.call("GET", status(other))
        return (found.get("presence"), found.get("status_msg")) == (presence, words)

    for presence, words in (("online", "in the reeds"), ("unavailable", "asleep")):
        for one, other in ((host, guest), (guest, host)):
            one.sync(0)
            say(other, presence, words)
            eventually(functools.partial(sees, one, other, presence, words), f"{presence} of {other.user_id}")

"""One Synapse and one of ours, started once for each module; the scenarios run one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_cloud.database.dynoxide import DynoxideError, find_binary
from local_cloud.federate.certificates import Authority

from .people import Person
from .servers import Homeserver, Ours, Theirs


@dataclass(frozen=True, slots=True)
class Pair:
    """The server on which a scenario's room is made, and the other."""

    host: Homeserver
    guest: Homeserver

    def people(self) -> tuple[Person, Person]:
        """Return a new user of each."""
        return self.host.person("host"), self.guest.person("guest")


@pytest.fixture(scope="module")
def ours(servers: tuple[Ours, Theirs]) -> Ours:
    return servers[0]


@pytest.fixture(scope="module")
def theirs(servers: tuple[Ours, Theirs]) -> Theirs:
    return servers[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority that signs the servers' certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def servers(
    python_with_synapse: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ours, Theirs]]:
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))
    ours = Ours(tmp_path_factory.mktemp("ours"), authority)
    theirs = Theirs(python_with_synapse, tmp_path_factory.mktemp("synapse"), authority)
    try:
        ours.start()
        theirs.start()
        yield ours, theirs
    finally:
        theirs.stop()
        ours.stop()


@pytest.fixture(params=["ours_to_synapse", "synapse_to_ours"])
def pair(request: pytest.FixtureRequest, servers: tuple[Ours, Theirs]) -> Pair:
    """Yield a pair of servers, once with the room on our server, and once with the room on the Synapse."""
    ours, theirs = servers
    return Pair(ours, theirs) if request.param == "ours_to_synapse" else Pair(theirs, ours)

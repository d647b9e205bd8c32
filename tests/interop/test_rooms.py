"""Rooms that our rules run, forks and merges included, are judged and resolved by Synapse as by us.

Other seeds than the recorded ones; MURMURATION_INTEROP_SEEDS sets how many for each room version (default 3).
"""

from __future__ import annotations

import os

import pytest

from .cases.events import ROOM_VERSIONS
from .cases.resolution import SimulatedRoom
from .our_library import OurEngine
from .synapse_process import SynapseProcess

SEEDS = range(1000, 1000 + int(os.environ.get("MURMURATION_INTEROP_SEEDS", "3")))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_synapse_judges_and_resolves_alike(synapse: SynapseProcess, version: str, seed: int) -> None:
    engine = OurEngine(version)
    room = SimulatedRoom(int(version), seed, engine)
    room.run(steps=200, branches=2 + seed % 4)

    cases = [[event, state] for event, state, _ in engine.verdicts]
    judged = synapse.ask("judge", version=version, events=engine.pdus, cases=cases)
    assert [verdict == "allow" for verdict in judged] == [allowed for _, _, allowed in engine.verdicts]

    state_sets = [[engine.positions(state) for state in made.state_sets] for made in room.resolutions]
    resolved = synapse.ask("resolve", version=version, events=engine.pdus, cases=state_sets)
    assert resolved == [engine.positions(made.resolved) for made in room.resolutions]

"""`python -m benchmarks.core`: times us and Synapse alternately, prints the median ratio for each kind of
work.

A ratio of 2 says that we take half the time. Synapse's state resolution leaves a part of the algorithm, the
auth chain difference, to its store. Here that is in memory; the last column assumes that it costs nothing.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import NamedTuple

from tests.interop.synapse_process import SynapseProcess, synapse_python

from .inputs import SIZES
from .ours import ContestedRoom, ResolvableRoom, auth_work, event_work, forked_room
from .timing import Work, seconds

ROUNDS = 15
# Long enough that the clock's resolution and context switches don't matter.
SAMPLE_SECONDS = 0.02
VERSIONS = ("11", "12")


class Contest(NamedTuple):
    """One line of the table: our work, and the name of the same work on Synapse's side."""

    name: str
    ours: Work
    theirs: str


class Result(NamedTuple):
    name: str
    ours: float
    theirs: float
    ratio: float
    ratio_without_store: float


def prepare(synapse: SynapseProcess) -> list[Contest]:
    contests = [Contest(name, work, name) for name, work in event_work().items()]
    for version in VERSIONS:
        for size in SIZES:
            name = f"resolve, {size:,} entries, room version {version}"
            room = forked_room(version, size)
            ours = ResolvableRoom(room)
            sets = [list(state.values()) for state in room.state_sets]
            theirs = synapse.ask("load", name=name, version=version, events=room.events, state_sets=sets)
            _check_same(ours, theirs["resolved"])
            contests.append(Contest(name, ours.resolve_maps, name))
            contests.append(Contest(f"{name}, from tries", ours.resolve_tries, name))
    contests += [_prepare_contested(synapse, version) for version in VERSIONS]
    # The last room that Synapse's side has loaded.
    contests += [Contest(name, work, name) for name, work in auth_work(room).items()]
    return contests


def _prepare_contested(synapse: SynapseProcess, version: str) -> Contest:
    contested = ContestedRoom(version, seed=1)
    engine, resolutions = contested.engine, contested.room.resolutions
    name = f"resolve, {len(resolutions)} times, contested room version {version}"
    cases = [[engine.positions(state) for state in made.state_sets] for made in resolutions]
    theirs = synapse.ask("load_contested", name=name, version=version, events=engine.pdus, cases=cases)
    if theirs["resolved"] != [engine.positions(made.resolved) for made in resolutions]:
        sys.exit("The states resolved differ: nothing to compare")
    return Contest(name, contested.resolve_all, name)


def _check_same(ours: ResolvableRoom, theirs: list[int]) -> None:
    ids = list(ours.by_id)
    if {ids[position] for position in theirs} != set(ours.resolve_maps().values()):
        sys.exit("The states resolved differ: nothing to compare")
    differing = ours.resolve_tries()
    if any(ours.resolve_maps().get(key) != event_id for key, event_id in differing.items()):
        sys.exit("The states resolved from tries differ: nothing to compare")


def measure(contest: Contest, synapse: SynapseProcess) -> Result:
    times = max(1, round(SAMPLE_SECONDS / (seconds(contest.ours, 3) / 3)))
    their_times = max(1, round(SAMPLE_SECONDS / (_theirs(synapse, contest.theirs, 3)[0])))
    samples = [
        (seconds(contest.ours, times) / times, *_theirs(synapse, contest.theirs, their_times))
        for _ in range(ROUNDS)
    ]
    return Result(
        contest.name,
        median(ours for ours, _, _ in samples),
        median(theirs for _, theirs, _ in samples),
        median(theirs / ours for ours, theirs, _ in samples),
        median((theirs - store) / ours for ours, theirs, store in samples),
    )


def _theirs(synapse: SynapseProcess, name: str, times: int) -> tuple[float, float]:
    """Return how many seconds a run takes Synapse, and how many of them its store takes."""
    answer = synapse.ask("time", name=name, times=times)
    return answer["total"] / times, answer["store"] / times


def main() -> None:
    python = synapse_python()
    if python is None:
        sys.exit("Synapse is not installed: `make synapse`, or set MURMURATION_SYNAPSE_PYTHON to its python")
    with SynapseProcess(python, "benchmarks.core.synapse_side") as synapse:
        results = [measure(contest, synapse) for contest in prepare(synapse)]
    width = max(len(result.name) for result in results)
    print(f"{'':{width}}  {'ours':>10}  {'Synapse':>10}  ratio  without store")
    for name, ours, theirs, ratio, without in results:
        last = f"{without:6.2f}" if without < ratio else ""
        print(f"{name:{width}}  {ours * 1e6:8.1f}µs  {theirs * 1e6:8.1f}µs  {ratio:5.2f}  {last}".rstrip())


if __name__ == "__main__":
    main()

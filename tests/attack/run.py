"""Play the attacks in a bounded time, and report each figure as it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local_cloud.testing import LocalCloud, local_cloud
from tests.attack.costs import LOOPS, Loop, attack_bill
from tests.attack.figures import COSTS, FUNCTIONS, GUESSES, SIZES, Figure
from tests.attack.sections import attack_answers, attack_functions, attack_passwords
from tests.e2e.conftest import ENVIRONMENT


@dataclass(frozen=True, slots=True)
class Plan:
    """The kinds of attacks to play, and the amount of each."""

    sections: str = "ABCD"
    events: int = 115
    guesses: int = 10
    requests: int = 40
    seconds: float = 120
    loops: tuple[Loop, ...] = LOOPS


def attack(plan: Plan, folder: Path, tell: Callable[[Figure], None]) -> list[Figure]:
    """Play the attacks of a plan, and return what they found."""
    figures = []
    for figure in _figures(plan, folder):
        tell(figure)
        figures.append(figure)
    return figures


def _figures(plan: Plan, folder: Path) -> Iterator[Figure]:
    attacks: dict[str, Callable[[LocalCloud], list[Figure]]] = {
        SIZES: lambda cloud: attack_answers(cloud, events=plan.events),
        GUESSES: lambda cloud: attack_passwords(cloud, guesses=plan.guesses),
        FUNCTIONS: lambda cloud: attack_functions(cloud, requests=plan.requests),
    }
    for section, play in attacks.items():
        if section in plan.sections:
            # A server for each: what one attack spends of an address's limits is not another's.
            limits = "off" if section == SIZES else "on"
            with local_cloud(folder / section, environment=ENVIRONMENT, rate_limits=limits) as cloud:
                yield from play(cloud)
    if COSTS in plan.sections:
        for number, loop in enumerate(plan.loops):
            yield from attack_bill(folder / COSTS / str(number), (loop,), seconds=plan.seconds)

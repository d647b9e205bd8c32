"""In a short attack each figure is measured and stays within its bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.costs import SHORT
from tests.attack.figures import COSTS
from tests.attack.run import Plan, attack

PLAN = Plan(events=10, requests=10, seconds=120, loops=SHORT)


@pytest.mark.parametrize("section", "ABCD")
def test_short_attack(section: str, tmp_path: Path) -> None:
    plan = Plan(
        sections=section, events=PLAN.events, requests=PLAN.requests, seconds=PLAN.seconds, loops=PLAN.loops
    )
    figures = attack(plan, tmp_path, print)
    assert figures
    assert not [str(figure) for figure in figures if not figure.holds]
    if section == COSTS:
        assert all(figure.value > 0 for figure in figures)

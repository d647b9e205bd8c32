from __future__ import annotations

import threading

import pytest

from local_cloud.lambdas import Lambdas
from local_cloud.pollers.schedules import ScheduleMapping, UnknownSchedule, interval
from murmuration.endpoint import Schedule
from tests.local_cloud.routed import routed
from tests.local_cloud.waiting import PATIENCE_S


@pytest.mark.parametrize(
    ("expression", "seconds"), [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(2 days)", 172_800)]
)
def test_rates(expression, seconds):
    assert interval(expression) == seconds


@pytest.mark.parametrize("expression", ["rate(0 minutes)", "cron(0 12 * * ? *)", "hourly", "rate(1 week)"])
def test_other_expressions_are_refused(expression):
    with pytest.raises(UnknownSchedule):
        interval(expression)


def test_a_scheduled_function_is_called_again_and_again_even_if_it_fails(monkeypatch):
    monkeypatch.setattr("local_cloud.pollers.schedules.interval", lambda expression: 0.005)
    calls = threading.Semaphore(0)

    @routed(Schedule("rate(1 hour)"))
    def hourly(event, context):
        calls.release()
        raise ValueError

    mapping = ScheduleMapping(hourly, hourly.route.expression, Lambdas(1), timeout=1)
    mapping.start()
    for _ in range(3):
        assert calls.acquire(timeout=PATIENCE_S)
    mapping.stop()
    mapping.join(PATIENCE_S)
    assert hourly.events[0]["detail-type"] == "Scheduled Event"

"""The cost model: bills that can be checked by hand, and counts of a run."""

from __future__ import annotations

import dataclasses
import json
import re
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra_cdk.modules import HOLDING
from local_cloud.meter import load, load_refused
from local_cloud.testing import local_cloud
from murmuration.aws.calls import Answer, Call, ServiceError
from operators.cli import main
from operators.commands.cost import _schedules, _swept_queues
from operators.costs import model, usage
from operators.costs.bill import bill, bill_causes
from operators.costs.counts import Counts, Op
from operators.costs.lives import LIVES
from operators.costs.prices import PRICES
from operators.costs.usage import ASSUMPTIONS, WAITING, Life, Setup, estimate, scaled
from tests.house import REPOSITORY

FAMILY = Life(users=5)


def total(life: Life, waiting: usage.Waiting, *, free_tier: bool = True) -> float:
    return sum(bill(estimate(life, waiting), free_tier=free_tier).values())


class TestBill:
    def test_a_bill_is_units_times_prices_less_what_is_free(self) -> None:
        used = {"lambda_requests": 3_000_000, "sqs_requests": 500_000}
        assert bill(used, free_tier=True)["Lambda"] == pytest.approx(0.40)
        assert bill(used, free_tier=False)["Lambda"] == pytest.approx(0.60)
        assert bill(used, free_tier=True)["SQS"] == 0
        assert bill(used, free_tier=False)["SQS"] == pytest.approx(0.20)

    def test_every_price_says_where_it_is_from(self) -> None:
        assert all(price.source.startswith("https://aws.amazon.com/") for price in PRICES.values())
        assert all(price.dollars > 0 and price.per > 0 and price.free >= 0 for price in PRICES.values())

    def test_what_has_no_price_is_not_passed_over(self) -> None:
        with pytest.raises(KeyError):
            bill({"horses": 1}, free_tier=True)


def without(*fields: str) -> Counts:
    """Return operations without requests, except for `fields`, which have one request of each kind."""
    nothing = dict.fromkeys((field.name for field in dataclasses.fields(Counts)), Op())
    ones = dict.fromkeys(fields, Op(1, 1, 1, 1, 1))
    return Counts(**{**nothing, "wakes_per_message": 1.0, **ones})  # type: ignore[arg-type]


IDLE = Setup(swept_queues=0, schedules=0)


class TestEstimate:
    def test_waiting_alone_can_be_checked_by_hand(self) -> None:
        """There is one device that waits all day, and no message."""
        silent = Life(users=1, messages_per_day=0, devices=1, hours_online=24, media_mb_per_day=0, rooms=50)
        seconds = 30 * 24 * 3600
        alone = replace(ASSUMPTIONS, comings_per_day=0, logins_per_month=0)
        parked, held, socket = (
            estimate(silent, waiting, alone, replace(IDLE, swept_queues=2), without("renewal", "held_wait"))
            for waiting in WAITING
        )
        looks = seconds / (240 + 600)
        assert parked["sqs_requests"] == seconds / 20 + 2 * seconds / 60 + seconds / 600
        assert parked["http_requests"] == seconds / 600
        assert parked["lambda_requests"] == seconds / 600 + looks
        assert parked["dynamodb_reads"] == seconds / 600
        assert parked["cloudfront_requests"] == pytest.approx(1.5 * (seconds / 20 + seconds / 600))
        assert held["lambda_gb_seconds"] == pytest.approx(seconds * 0.5 + seconds / 25 * 0.08 * 0.5, rel=1e-3)
        assert held["http_requests"] == seconds / 25
        assert socket["socket_minutes"] == seconds / 60
        assert "http_requests" not in socket or socket["http_requests"] == 0

    def test_messages_alone_can_be_checked_by_hand(self) -> None:
        alone = Life(users=1, messages_per_day=100, hours_online=0, media_mb_per_day=0, devices=1)
        quiet = replace(ASSUMPTIONS, typing_per_message=0, comings_per_day=0, logins_per_month=0)
        used = estimate(alone, "parked", quiet, IDLE, without("send"))
        assert used["lambda_requests"] == 3000
        assert used["dynamodb_writes"] == 3000
        assert used["http_requests"] == 3000

    def test_who_is_told_of_presence_can_be_checked_by_hand(self) -> None:
        """There are three people in five rooms. Each comes online twice a day, and has one device that always
        waits.
        """
        lives = Life(users=3, messages_per_day=0, devices=1, hours_online=16, media_mb_per_day=0, rooms=5)
        often = replace(ASSUMPTIONS, comings_per_day=2, logins_per_month=0)
        used = estimate(lives, "websocket", often, IDLE, without("told"))
        assert used["dynamodb_writes"] == 3 * 2 * 30 * 2  # the two others, each in their own stream

    def test_late_rings_serve_all_that_comes_meanwhile(self) -> None:
        life = Life(users=5, messages_per_day=40)
        news = usage.news_of(life, ASSUMPTIONS, without(), 6000)
        rung = usage.receipts(life, ASSUMPTIONS) * (1 + 9 * 0.5)
        assert 0 < news.late < news.noted < rung + 5 * 4 * 30 * 4 * 2
        large = replace(life, users=50, people_per_room=50)
        assert usage.news_of(large, ASSUMPTIONS, without(), 6000).late == 0

    def test_where_typing_rings_a_message_wakes_twice(self) -> None:
        twice = replace(without(), wakes_per_message=2.0)
        small, large = Life(users=10, people_per_room=10), Life(users=11, people_per_room=11)
        for life, factor in ((small, 2), (large, 1)):
            listening = 1 + (life.audience * 2 - 1) / 2
            news = usage.news_of(life, replace(ASSUMPTIONS, messages_per_key=1e12), twice, 1000)
            assert news.urgent == pytest.approx(1000 * listening * factor)

    @pytest.mark.parametrize(("api", "other"), [("rest", "http"), ("http", "rest")])
    def test_the_kind_of_api_decides_the_price_of_functions(self, api: Any, other: str) -> None:
        used = estimate(FAMILY, "held", setup=Setup(api=api))
        assert used[f"{api}_requests"] > 0
        assert f"{other}_requests" not in used

    def test_waits_may_be_requests_of_a_rest_api(self) -> None:
        assert "rest_requests" not in estimate(FAMILY, "parked")
        assert estimate(FAMILY, "parked", setup=Setup(waits="rest"))["rest_requests"] > 400_000

    def test_waits_at_the_edge_are_no_requests_of_an_api(self) -> None:
        """One device waits all day. Two CloudFront functions run for each request."""
        silent = Life(users=1, messages_per_day=0, devices=1, hours_online=24, media_mb_per_day=0, rooms=50)
        alone = replace(ASSUMPTIONS, comings_per_day=0, logins_per_month=0, web_share=0)
        used = estimate(silent, "parked", alone, IDLE, without("renewal"))
        seconds = 30 * 24 * 3600
        waits, ends = seconds / 20, seconds / 600
        assert used["http_requests"] == ends
        assert used["cloudfront_requests"] == pytest.approx(waits + ends)
        assert used["cloudfront_functions"] == pytest.approx(2 * (waits + ends))
        assert used["sqs_requests"] == pytest.approx(waits + ends)

    def test_the_causes_are_the_whole(self) -> None:
        causes = usage.estimate_causes(FAMILY, "parked")
        dollars = sum(sum(spent.values()) for spent in bill_causes(causes).values())
        assert dollars == pytest.approx(total(FAMILY, "parked", free_tier=False))
        assert {"waiting", "news", "late news", "messages", "idle queues", "presence"} <= set(causes)

    @pytest.mark.parametrize("waiting", WAITING)
    def test_every_use_has_a_price(self, waiting: usage.Waiting) -> None:
        assert set(estimate(FAMILY, waiting)) <= set(PRICES)

    @pytest.mark.parametrize("waiting", WAITING)
    @pytest.mark.parametrize(
        "more", ["users", "messages_per_day", "devices", "hours_online", "media_mb_per_day"]
    )
    def test_more_of_anything_never_costs_less(self, waiting: usage.Waiting, more: str) -> None:
        doubled = replace(FAMILY, **{more: getattr(FAMILY, more) * 2})
        assert total(doubled, waiting, free_tier=False) > total(FAMILY, waiting, free_tier=False)

    def test_a_free_tier_never_costs_more(self) -> None:
        for waiting in WAITING:
            assert total(FAMILY, waiting) <= total(FAMILY, waiting, free_tier=False)

    def test_the_rarer_the_requests_the_colder_the_starts(self) -> None:
        rare, busy = (estimate(replace(FAMILY, messages_per_day=n), "parked") for n in (1, 1000))
        assert rare["key_requests"] / rare["lambda_requests"] > busy["key_requests"] / busy["lambda_requests"]


def test_the_counts_are_those_that_the_budgets_allow() -> None:
    operations = pytest.importorskip("tests.budgets.operations")
    budgets = {budget.measure.__name__: budget for budget in operations.BUDGETS}
    for name, op in (
        ("send_cold", model.counts(1, 2).send),
        ("wake", model.counts(operations.WAKE_ROOMS, 2).wake),
        ("sync_nothing_new", model.counts(operations.ROOMS, 2).renewal),
    ):
        assert op.reads <= budgets[name].read_units
        assert op.writes <= budgets[name].write_units + 1  # the streams' worker notes that it has rung


def test_the_constants_are_those_of_the_code() -> None:
    wakes = pytest.importorskip("murmuration.delivery.wakes")
    waiting = pytest.importorskip("murmuration.sync.waiting")
    marks = pytest.importorskip("murmuration.sync.marks")
    assert marks.LIFETIME_S == usage.REGISTERED_S
    assert (wakes.LATE_S, wakes.EPHEMERAL_ROOM) == (usage.LATE_S, usage.SMALL_ROOM)
    assert usage.SMALL_ROOM == model.SMALL
    assert waiting.SLOTS == usage.SLOTS
    narrow_look = pytest.importorskip("murmuration.sync.narrow_look")
    assert narrow_look.EVERYTHING_S == usage.EVERYTHING_S


NAMES = {
    "family": "a family of 5",
    "club": "a club of 15",
    "community": "a community of 200",
    "company": "a company of 2,000",
}


AIMS = {"family": 1.00, "club": 4, "community": 80, "company": 1800}
"""The most that each may pay a month, in dollars, with clients that wait parked."""


@pytest.mark.parametrize("name", LIVES)
def test_nobody_pays_more_than_the_aim(name: str) -> None:
    setup = Setup(swept_queues=_swept_queues(), schedules=_schedules())
    assert sum(bill(estimate(LIVES[name], "parked", setup=setup), free_tier=True).values()) <= AIMS[name]


@pytest.mark.parametrize("name", LIVES)
def test_the_documents_say_what_is_counted(name: str) -> None:
    life, title = LIVES[name], NAMES[name]
    setup = Setup(swept_queues=_swept_queues(), schedules=_schedules())

    def total(waiting: usage.Waiting, *, free_tier: bool = True) -> float:
        return sum(bill(estimate(life, waiting, setup=setup), free_tier=free_tier).values())

    free, listed = total("parked"), total("parked", free_tier=False)
    readme, page = ((REPOSITORY / path).read_text() for path in ("README.md", "docs/costs.md"))
    assert f"| {title} | ${free:,.0f} | ${listed:,.0f} |" in readme
    digits = 2 if life.users < 100 else 0
    figures = [*(total(waiting) for waiting in WAITING), listed]
    row = next(line for line in page.splitlines() if line.startswith(f"| {title}"))
    assert row.endswith("".join(f" | {figure:,.{digits}f}" for figure in figures) + " |")


def test_what_is_asked_for_besides_can_be_checked_by_hand() -> None:
    quiet = Life(users=5, messages_per_day=10, devices=0, hours_online=0, media_mb_per_day=0, rooms=20)
    month = 5 * 10 * 30

    def more(**options: Any) -> dict[str, dict[str, float]]:
        return usage.estimate_causes(replace(quiet, **options), "parked")

    pushes = more(phones=2)["pushes"]
    assert pushes["dynamodb_reads"] == month * 4 * 2 * 19
    assert pushes["sqs_requests"] == month * 4 * 2 * 3
    sent = more(servers=100)["federation"]
    assert sent["dynamodb_reads"] == month * (150 + 16)
    assert sent["lambda_requests"] == month * 8
    assert sent["lambda_gb_seconds"] == pytest.approx(month * 8 * 0.5 * (2 + 0.08))
    taken = more(remote_events=1000)["federation"]
    assert (taken["http_requests"], taken["dynamodb_writes"]) == (30_000, 30_000 * 9)
    waited_s = 5 * 8 * 3600 * 30
    held = usage.estimate_causes(replace(quiet, app_hours=8), "held")["sliding sync"]
    assert held["lambda_requests"] > 2 * waited_s / 25
    assert 2 * waited_s * 0.25 < held["lambda_gb_seconds"] < 2 * waited_s * 0.25 * 1.2
    assert HOLDING["client_server.sync.sliding_sync"] == usage.SLIDING_GB * 1024
    for waits in ("rest", "edge"):
        setup = usage.Setup(waits=waits)
        parked = usage.estimate_causes(replace(quiet, app_hours=8), "parked", setup=setup)["sliding sync"]
        asked = 2 * waited_s / 20
        assert asked < parked["sqs_requests"] < asked * 1.2
        assert asked < parked["rest_requests"] < asked * 1.2
        assert parked["lambda_gb_seconds"] < held["lambda_gb_seconds"] / 50
    nothing = more()
    assert nothing["pushes"]["lambda_requests"] == nothing["federation"]["lambda_requests"] == 0
    assert "sliding sync" not in nothing


@pytest.mark.parametrize("name", LIVES)
def test_the_page_says_what_the_ways_back_to_rest_apis_cost(name: str) -> None:
    life, title = LIVES[name], NAMES[name].partition(" of ")[0].removeprefix("a ")
    digits = 2 if life.users < 100 else 0
    figures = [
        sum(bill(estimate(life, "parked", setup=setup), free_tier=True).values())
        for api, waits in (("http", "edge"), ("rest", "edge"), ("http", "rest"), ("rest", "rest"))
        for setup in (
            Setup(api=api, waits=waits, swept_queues=_swept_queues(), schedules=_schedules()),  # type: ignore[arg-type]
        )
    ]
    row = "".join(f" | {figure:,.{digits}f}" for figure in figures)
    assert f"| {title}{row} |" in (REPOSITORY / "docs/costs.md").read_text()


def test_a_run_is_scaled_to_a_month() -> None:
    assert scaled({"sqs_requests": 10}, 3600) == {"sqs_requests": 10 * 24 * 30}


class TestCommand:
    def test_the_command_prints_a_bill_for_each_way_to_wait(self, capsys) -> None:
        assert main(["cost", "--users", "5", "--messages-per-day", "200"]) == 0
        output = capsys.readouterr().out
        life = Life(users=5, messages_per_day=200)
        for waiting in WAITING:
            assert waiting in output
            setup = Setup(swept_queues=_swept_queues(), schedules=_schedules())
            dollars = bill(estimate(life, waiting, setup=setup), free_tier=False)
            assert f"{sum(dollars.values()):.2f}" in output
            assert f"{dollars['DynamoDB']:.2f}" in output

    def test_the_command_prints_what_the_money_is_spent_on(self, capsys) -> None:
        assert main(["cost", "--users", "5", "--by-cause", "parked"]) == 0
        output = capsys.readouterr().out
        dollars = bill_causes(usage.estimate_causes(Life(users=5), "parked"))["waiting"]
        assert re.search(rf"^waiting +{sum(dollars.values()):.2f} ", output, re.MULTILINE)

    def test_the_command_prints_the_bill_with_rest_apis_for_all(self, capsys) -> None:
        assert main(["cost", "--users", "5", "--api", "rest", "--waits", "rest"]) == 0
        setup = Setup(api="rest", waits="rest", swept_queues=_swept_queues(), schedules=_schedules())
        dollars = bill(estimate(Life(users=5), "parked", setup=setup), free_tier=True)
        assert f"{sum(dollars.values()):.2f}" in capsys.readouterr().out

    @pytest.mark.parametrize("value", ["-1", "inf", "many"])
    def test_nonsense_is_refused(self, value: str, capsys) -> None:
        with pytest.raises(SystemExit):
            main(["cost", "--users", value])

    def test_prices_and_assumptions_are_printed(self, capsys) -> None:
        assert main(["cost", "--prices"]) == main(["cost", "--assumptions"]) == 0
        output = capsys.readouterr().out
        assert "https://aws.amazon.com/lambda/pricing/" in output
        assert "warm_s" in output

    def test_a_folder_without_counts_is_told_of(self, tmp_path: Path, capsys) -> None:
        assert main(["cost", "--measured", "--data", str(tmp_path)]) == 2
        assert "--meter on" in capsys.readouterr().err

    def test_a_measured_run_has_what_was_done(self, tmp_path: Path, capsys) -> None:
        with local_cloud(tmp_path, meter="on") as cloud:
            body = {"username": "alice", "password": "wonderland", "auth": {"type": "m.login.dummy"}}
            request = urllib.request.Request(
                f"{cloud.url}/_matrix/client/v3/register", json.dumps(body).encode(), method="POST"
            )
            with urllib.request.urlopen(request) as response:
                assert response.status == 200
            assert cloud.stop() == 0
        counts, seconds = load(tmp_path / "usage.json")
        assert seconds > 0
        assert counts["http_requests"] == 1
        assert counts["lambda_requests"] >= 1
        assert counts["dynamodb_writes"] >= 6  # account, profile, device: twice the units in a transaction
        assert counts["lambda_gb_seconds"] > 0
        assert load_refused(tmp_path / "usage.json") == 0
        assert main(["cost", "--measured", "--data", str(tmp_path)]) == 0
        assert "measured" in capsys.readouterr().out


def test_refused_transactions_are_counted_apart(tmp_path: Path) -> None:
    from local_cloud import meter as metering

    def refuse(code: str) -> None:
        answered = ServiceError(code, {})

        def proceed(_: Call) -> Answer:
            raise answered

        with pytest.raises(ServiceError):
            metering._count_call(Call("dynamodb", "TransactWriteItems", {}), proceed)

    found = metering.Meter()
    metering.install(found)
    try:
        refuse("TransactionCanceledException")
        refuse("ValidationException")
    finally:
        metering.uninstall(found)
    found.save(tmp_path / "usage.json")
    assert load_refused(tmp_path / "usage.json") == 1
    assert load(tmp_path / "usage.json")[0] == {}


def test_what_is_counted_apart(tmp_path: Path) -> None:
    """Some counts are separate: preflights, requests that wait, created queues, invocations by function."""
    from local_cloud import meter as metering

    found = metering.Meter()
    found.request()
    found.request(preflight=True)
    for wait in (found.wait, found.wait_at_edge):
        found.request()
        wait()
    found.invocation("sync", 0.5)
    metering.install(found)
    try:
        for operation in ("CreateQueue", "SendMessage"):
            metering._count_call(Call("sqs", operation, {}), lambda _: {})
        units = {"CapacityUnits": 4.0, "LocalSecondaryIndexes": {"by-seq": {"CapacityUnits": 2.0}}}
        written = Call("dynamodb", "TransactWriteItems", {})
        metering._count_call(written, lambda _: {"ConsumedCapacity": [units]})
    finally:
        metering.uninstall(found)
    assert found.snapshot() == {
        "cloudfront_requests": 4,
        "cloudfront_functions": 5,
        "http_requests": 1,
        "rest_requests": 1,
        "sqs_requests": 4,
        "parked": 2,
        "queues_made": 1,
        "lambda_requests": 1,
        "lambda_gb_seconds": 0.25,
        "invoked sync": 1,
        "dynamodb_writes": 6,
    }
    assert written.parameters["ReturnConsumedCapacity"] == "INDEXES"

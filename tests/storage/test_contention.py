"""Writes that conflict with another transaction. Only AWS refuses them, so the tests imitate that."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from murmuration.aws import calls, dynamodb
from murmuration.aws.calls import Answer, Call, Proceed, ServiceError
from murmuration.aws.dynamodb import CONTENDED_ATTEMPTS, ConditionFailed
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.identifiers import DeviceId, UserId
from tests.keys.crypto import KeyPair, device_keys
from tests.logged_in import log_in

pytestmark = pytest.mark.usefixtures("deployment")
KEY = {"id": "contention"}


class Contention:
    """Is in the way of the next writes, `times` of them. `codes` are a cancelled transaction's reasons."""

    def __init__(self) -> None:
        self.times = 0
        self.operations = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"}
        self.codes = ["TransactionConflict"]
        self.tokens: list[str] = []

    def __call__(self, asked: Call, proceed: Proceed) -> Answer:
        if asked.operation not in self.operations:
            return proceed(asked)
        self.tokens.append(asked.parameters.get("ClientRequestToken", ""))
        if self.times == 0:
            return proceed(asked)
        self.times -= 1
        if asked.operation == "TransactWriteItems":
            reasons = [{"Code": code} for code in self.codes]
            raise ServiceError("TransactionCanceledException", {"CancellationReasons": reasons})
        raise ServiceError("TransactionConflictException", {})


@pytest.fixture
def contention(monkeypatch: pytest.MonkeyPatch) -> Iterator[Contention]:
    monkeypatch.setattr(dynamodb, "CONTENDED_PAUSE_S", 0)
    found = Contention()
    calls.intercept(found)
    yield found
    calls.release(found)


def put(number: int) -> dynamodb.Write:
    return dynamodb.put("transient", {**KEY, "number": number})


WRITES: dict[str, Callable[[dynamodb.Write], object]] = {
    "alone": dynamodb.execute,
    "in a transaction": lambda write: dynamodb.transact([write]),
}


@pytest.mark.parametrize("way", WRITES)
def test_a_write_waits_for_the_transaction_that_is_in_its_way(contention: Contention, way: str) -> None:
    contention.times = CONTENDED_ATTEMPTS - 1
    WRITES[way](put(contention.times))
    found = dynamodb.get("transient", KEY)
    assert found is not None
    assert found["number"] == CONTENDED_ATTEMPTS - 1


@pytest.mark.parametrize("way", WRITES)
def test_what_stays_in_the_way_is_told_of_as_no_condition_of_ours(contention: Contention, way: str) -> None:
    contention.times = CONTENDED_ATTEMPTS
    with pytest.raises(Unavailable):
        WRITES[way](put(0))
    assert contention.times == 0


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_is_too_much_is_tried_again_as_another(contention: Contention, code: str) -> None:
    contention.times, contention.codes = 1, ["None", code]
    dynamodb.transact([put(1)])
    first, second = contention.tokens
    assert first != second


def test_a_condition_that_fails_is_told_at_once(contention: Contention) -> None:
    contention.times, contention.codes = 1, ["ConditionalCheckFailed", "TransactionConflict"]
    with pytest.raises(ConditionFailed) as error:
        dynamodb.transact([put(1)])
    assert error.value.names == {""}
    assert len(contention.tokens) == 1


def test_who_reads_anew_is_told_at_once(contention: Contention) -> None:
    contention.times = 1
    with pytest.raises(ConditionFailed) as error:
        dynamodb.transact([put(1)], patient=False)
    assert error.value.names == frozenset()


@pytest.mark.parametrize(("times", "status"), [(1, 200), (CONTENDED_ATTEMPTS, 503)])
def test_nobody_is_logged_out_because_requests_met(
    contention: Contention, fresh_user_id: Callable[..., str], times: int, status: int
) -> None:
    """A device's keys are written on the condition that the device exists. Its item may be in another
    write.
    """
    alice = log_in(UserId(fresh_user_id("alice")), DeviceId("ALICE"))
    contention.times, contention.operations = times, {"TransactWriteItems"}
    body = {"device_keys": device_keys(alice.user_id, "ALICE", KeyPair("ALICE"))}
    assert alice.post("/_matrix/client/v3/keys/upload", body).status == status
    assert contention.times == 0

"""https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.accounts.interactive.interactive_auth import Attempt, authorise, complete_stage
from murmuration.protocol.errors import Forbidden, UserInteractiveAuthRequired
from tests.accounts.conftest import PASSWORD, password_auth
from tests.in_process import Client

TERMS = "m.login.terms"
DUMMY = "m.login.dummy"
FLOWS = (("m.login.password", TERMS, DUMMY), (DUMMY, TERMS))

pytestmark = pytest.mark.usefixtures("deployment")


def ask(auth=None, *, user_id="@a:example.org", flows=FLOWS, method="POST", path="/x", **body):
    attempt = Attempt(method, path, body if auth is None else {**body, "auth": auth})
    return authorise(attempt, flows, user_id=user_id, params={TERMS: {"policies": {}}})


def challenge(auth=None, **options):
    with pytest.raises(UserInteractiveAuthRequired) as refusal:
        ask(auth, **options)
    return refusal.value.body()


def test_the_first_answer_says_what_to_do():
    body = challenge()
    assert body == {
        "flows": [{"stages": list(flow)} for flow in FLOWS],
        "params": {TERMS: {"policies": {}}},
        "session": body["session"],
    }
    assert challenge()["session"] != body["session"]
    assert "completed" not in challenge({})


def test_stages_are_completed_one_after_another():
    session = challenge()["session"]
    body = challenge({"type": DUMMY, "session": session})
    assert body["completed"] == [DUMMY]
    assert body["session"] == session
    assert "errcode" not in body
    # A stage that is completed isn't asked for again; what is completed elsewhere shows the next time.
    assert challenge({"type": DUMMY, "session": session})["completed"] == [DUMMY]
    complete_stage(session, TERMS, {"agreed": True})
    complete_stage(session, TERMS, {"agreed": True})
    authorised = ask({"session": session})
    assert authorised.session == session
    assert authorised.proofs == {DUMMY: {}, TERMS: {"agreed": True}}
    assert ask({"type": DUMMY, "session": session}).proofs == authorised.proofs


def test_stages_out_of_order_are_refused():
    session = challenge()["session"]
    for kind in (TERMS, "m.login.magic", "m.login.registration_token"):
        body = challenge({"type": kind, "session": session})
        assert body["errcode"] == "M_FORBIDDEN"
        assert body["flows"]
        assert body["completed"] == []
    challenge({"type": DUMMY, "session": session})
    body = challenge({"type": "m.login.password", "session": session})
    assert (body["errcode"], body["completed"]) == ("M_FORBIDDEN", [DUMMY])


def test_a_stage_that_only_completes_elsewhere_cannot_be_sent():
    session = challenge()["session"]
    challenge({"type": DUMMY, "session": session})
    assert challenge({"type": TERMS, "session": session})["errcode"] == "M_FORBIDDEN"


@pytest.mark.parametrize(
    "other",
    [
        {"method": "PUT"},
        {"path": "/y"},
        {"user_id": "@b:example.org"},
        {"user_id": None},
        {"parameter": 2},
        {"more": 1},
    ],
)
def test_a_session_serves_no_other_operation(other):
    session = challenge(parameter=1)["session"]
    challenge({"type": DUMMY, "session": session}, parameter=1)
    complete_stage(session, TERMS, {})
    with pytest.raises(Forbidden):
        ask({"session": session}, **{"parameter": 1, **other})
    assert ask({"session": session}, parameter=1)


def test_a_digest_put_behind_another_session_has_nothing_completed():
    done = challenge(parameter=1)["session"]
    challenge({"type": DUMMY, "session": done}, parameter=1)
    complete_stage(done, TERMS, {})
    wanted = challenge(parameter=2)["session"]
    forged = done.partition(".")[0] + "." + wanted.partition(".")[2]
    assert "completed" not in challenge({"session": forged}, parameter=2)


def test_a_session_is_forgotten_after_a_day(clock):
    session = challenge()["session"]
    assert challenge({"type": DUMMY, "session": session})["completed"] == [DUMMY]
    clock.advance(24 * 3600 * 1000)
    assert "completed" not in challenge({"session": session})
    assert challenge({"type": DUMMY, "session": session})["completed"] == [DUMMY]


def test_stages_completed_at_once_are_all_kept():
    flows = ((DUMMY, "org.example.a", "org.example.b"),)
    session = challenge(flows=flows)["session"]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda kind: complete_stage(session, kind, {}), ("org.example.a", "org.example.b")))
    completed = challenge({"session": session}, flows=flows)["completed"]
    assert sorted(completed) == ["org.example.a", "org.example.b"]


# -- The password stage ----------------------------------------------------------------------------------


def test_the_password_of_another_user_proves_nothing(register):
    user, other = register(), register()
    answer = user.delete(f"/_matrix/client/v3/devices/{user.device_id}", {"auth": password_auth(other)})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert "flows" not in answer.json
    assert user.get("/_matrix/client/v3/account/whoami").status == 200


def test_a_password_stage_without_session(register):
    user = register()
    path = f"/_matrix/client/v3/devices/{user.device_id}"
    auth = {"type": "m.login.password", "user": user.user_id, "password": PASSWORD}
    assert user.delete(path, {"auth": auth}).status == 200


def test_null_in_auth_counts_as_missing(register):
    user = register()
    path = f"/_matrix/client/v3/devices/{user.device_id}"
    asked = user.delete(path, {"auth": {"type": None, "session": None}})
    assert (asked.status, "errcode" in asked.json) == (401, False)
    auth = {"type": "m.login.password", "user": user.user_id, "password": PASSWORD, "session": None}
    assert user.delete(path, {"auth": auth}).status == 200


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"type": "m.login.password"}, (400, "M_MISSING_PARAM")),
        ({"type": "m.login.password", "password": 3}, (400, "M_BAD_JSON")),
        ({"type": "m.login.dummy"}, (401, "M_FORBIDDEN")),
        ([], (400, "M_BAD_JSON")),
    ],
)
def test_malformed_stages(register, auth, expected):
    user = register()
    answer = user.delete(f"/_matrix/client/v3/devices/{user.device_id}", {"auth": auth})
    assert (answer.status, answer.json["errcode"]) == expected


def test_a_session_for_one_device_deletes_no_other(register, log_in):
    user = register()
    other = log_in(user)
    session = user.delete(f"/_matrix/client/v3/devices/{user.device_id}").json["session"]
    answer = user.delete(
        f"/_matrix/client/v3/devices/{other.device_id}", {"auth": password_auth(user, session=session)}
    )
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert Client(other.token).get("/_matrix/client/v3/account/whoami").status == 200

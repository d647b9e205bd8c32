"""A table of all rate limits and of the code that applies them. A request beyond a limit is refused.

A row is one place in the code that takes from one kind of bucket. To take a place, a kind or its numbers away
turns a row red; to add one without a row turns `test_every_place_has_a_row` red.
"""

from __future__ import annotations

import ast
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import murmuration
from murmuration import clock
from murmuration.identity import rate_limits, turns
from murmuration.identity.rate_limits import LIMITS
from murmuration.protocol.identifiers import UserId
from tests.accounts import media_requests
from tests.accounts.conftest import PASSWORD
from tests.accounts.limits_elsewhere import (
    ask_for_complexity,
    ask_openid_token,
    bind_address,
    find_alias_elsewhere,
    join_by_alias_elsewhere,
    join_elsewhere,
    join_long,
    knock,
    knock_by_alias_elsewhere,
    list_children,
    list_rooms,
    list_rooms_elsewhere,
    list_space_elsewhere,
    send_to_device_elsewhere,
    set_field,
    summarise_elsewhere,
    work_long,
    work_long_for_server,
)
from tests.accounts.limits_of_logins import (
    ask_for_proof,
    ask_token,
    begin_registration,
    choose_provider,
    get_login_token,
    go_to_provider,
    register,
    register_by_token,
    submit_page,
)
from tests.accounts.limits_of_servers import (
    ask_for_devices,
    ask_for_keys,
    ask_for_profile,
    ask_for_state,
    ask_for_template,
    by_address,
    by_server,
    exchange_invite,
    fetch_keys,
    hand_in,
    invite_elsewhere,
    invite_from_elsewhere,
    invite_to_a_room_elsewhere,
    park_event,
    query_keys,
    send_ephemera,
    send_events,
    send_message_to_device,
    set_invite_elsewhere,
)
from tests.in_process import Answer, Client
from tests.rooms import delayed
from tests.rooms.people import V3, create_room, invite, join, path, send

pytestmark = pytest.mark.usefixtures("deployment")

NUMBERS = {
    "registration": (0.17, 3),
    "registration_query": (0.5, 10),
    "login": (0.17, 6),
    "login_poll": (1, 30),
    "sso": (0.5, 20),
    "proof_request": (0.05, 10),
    "key_fetch": (2, 60),
    "key_query": (1, 30),
    "failed_login": (0.17, 3),
    "failed_login_from": (0.17, 3),
    "proof_mail": (1 / 60, 5),
    "login_mail": (1 / 60, 5),
    "login_token": (1 / 60, 1),
    "message": (0.2, 10),
    "redaction": (0.2, 10),
    "join": (0.1, 10),
    "remote_join": (1 / 120, 3),
    "join_seconds": (0.5, 150),
    "long_join": (1 / 300, 2),
    "long_joins": (1 / 300, 5),
    "invite": (0.3, 10),
    "moderation": (1, 50),
    "room_creation": (0.016, 10),
    "profile": (0.2, 10),
    "presence": (0.2, 10),
    "media_upload": (0.5, 20),
    "media_wait": (1 / 15, 4),
    "report": (1, 5),
    "pusher": (0.1, 20),
    "user_directory": (1, 50),
    "search": (0.2, 20),
    "notifications": (0.5, 30),
    "long_work": (0.25, 16),
    "delayed_event": (0.5, 20),
    "delayed_event_action": (1, 60),
    "openid_token": (0.05, 20),
    "federation_membership": (5, 200),
    "federation_invite": (1 / 300, 20),
    "federation_pdu": (10, 500),
    "federation_parked": (0.1, 200),
    "federation_state": (0.5, 30),
    "federation_work": (1 / 60, 8),
    "federation_media": (2, 1000),
    "media_fetch": (1, 200),
    "url_preview": (1, 50),
    "media_fetch_megabytes": (0.5, 1000),
    "federation_to_device": (20, 2_000),
    "federation_ephemera": (20, 1_000),
    "federation_keys": (20, 4_000),
    "profile_query": (1, 60),
    "federation_directory": (2, 60),
    "remote_question": (0.5, 30),
    "to_device_servers": (5, 3_000),
    "remote_question_from": (0.2, 10),
}
"""Requests a second, and at once."""
PUSHER = {
    "app_id": "app",
    "pushkey": "key",
    "kind": "http",
    "app_display_name": "App",
    "device_display_name": "Phone",
    "lang": "en",
    "data": {"url": "https://push.example.com/_matrix/push/v1/notify"},
}
V1, V2 = "/_matrix/client/api/v1", "/_matrix/client/v2"
PROVIDER = {"id": "acme", "name": "Acme", "client_id": "x", "issuer": "https://acme.example"}
_numbers = itertools.count(1)


@dataclass
class Stage:
    """Alice, who makes the request, and Bob; their room; what the deployment has besides."""

    alice: Client
    bob: Client
    room: str
    event: str
    configure: Callable[..., None]

    @property
    def stranger(self) -> Client:
        """Somebody without a token, at Alice's address."""
        return Client(source_ip=self.alice.source_ip)

    @property
    def mail_address(self) -> str:
        return f"{self.alice.user_id[1:].partition(':')[0]}@mail.example"

    def room_path(self, *rest: str, version: str = V3) -> str:
        return path(self.room, *rest, version=version)

    def offer_provider(self) -> None:
        self.configure(IDENTITY_PROVIDERS=json.dumps([PROVIDER]))

    def log_in_by(self, kind: str, **fields: Any) -> Answer:
        """Return a request of the founding draft's login, at a deployment that offers this stage."""
        self.configure(LOGIN_FLOWS=kind, MAIL_SENDER="server@example.org")
        return self.stranger.post(f"{V1}/login", {"type": kind, **fields})


@dataclass(frozen=True)
class Row:
    """A place that takes from a bucket: by whose `key`, and by which request one comes there.

    `refusal` is what a request beyond the limit gets.
    """

    kind: str
    place: str
    key: Callable[[Stage], str]
    request: Callable[[Stage], Answer]
    refusal: tuple[int, str] = (429, "M_LIMIT_EXCEEDED")


def by_user(stage: Stage) -> str:
    return stage.alice.user_id


def by_mail(stage: Stage) -> str:
    return stage.mail_address


def by_guess(stage: Stage) -> str:
    return f"{stage.alice.user_id}|{rate_limits.network(stage.alice.source_ip)}"


def moderate(change: str) -> Callable[[Stage], Answer]:
    return lambda stage: stage.alice.post(stage.room_path(change), {"user_id": stage.bob.user_id})


def log_in(stage: Stage) -> Answer:
    body = {"type": "m.login.password", "user": stage.alice.user_id, "password": "wrong"}
    return stage.stranger.post(f"{V3}/login", body)


def log_in_elsewhere(stage: Stage) -> Answer:
    """Return a guess from where Alice never was: she passes her account's lock herself."""
    stage.alice.source_ip = "2001:db8:ffff:" + stage.alice.source_ip.split(":")[3] + "::2"
    return log_in(stage)


ROWS = [
    Row("federation_work", "identity.patience.take_more", by_server, work_long_for_server, (504, "TimedOut")),
    Row("long_work", "identity.patience.take_more", by_user, work_long),
    Row("long_join", "identity.turns.take_more", by_user, join_long),
    Row("long_joins", "identity.turns.take_more", lambda _stage: turns.EVERYBODY, join_long),
    Row("join_seconds", "identity.turns.take_time", by_user, join_elsewhere),
    Row(
        "notifications",
        "push.notifications.get_notifications",
        by_user,
        lambda stage: stage.alice.get(f"{V3}/notifications"),
    ),
    Row("federation_directory", "federation.finding.public_rooms.serve_public_rooms", by_server, list_rooms),
    Row("federation_directory", "federation.serving.hierarchy.get_hierarchy", by_server, list_children),
    Row(
        "federation_directory", "federation.serving.complexity.get_complexity", by_server, ask_for_complexity
    ),
    Row(
        "remote_question",
        "federation.finding.public_rooms.get_public_rooms",
        by_user,
        list_rooms_elsewhere,
    ),
    Row("remote_question", "spaces.looking_ahead._look_elsewhere", by_user, list_space_elsewhere),
    Row(
        "remote_question",
        "spaces.summaries._take",
        by_user,
        lambda stage: summarise_elsewhere(stage.alice),
    ),
    Row(
        "remote_question_from",
        "spaces.summaries._take",
        by_address,
        lambda stage: summarise_elsewhere(stage.stranger),
    ),
    Row(
        "remote_question_from",
        "federation.finding.aliases.get_room_id_by_alias",
        by_address,
        find_alias_elsewhere,
    ),
    Row("remote_question_from", "federation.membership.binding.take_binding", by_address, bind_address),
    Row("remote_question", "federation.membership.joining.join_room", by_user, join_by_alias_elsewhere),
    Row("remote_question", "federation.membership.knocking.knock_on_room", by_user, knock_by_alias_elsewhere),
    Row("to_device_servers", "federation.devices.messages.send", by_user, send_to_device_elsewhere),
    Row("remote_join", "federation.membership.joining.join_elsewhere", by_user, join_elsewhere),
    Row("invite", "federation.membership.inviting.invite_user", by_user, invite_elsewhere),
    Row("invite", "federation.membership.states._invite", by_user, set_invite_elsewhere),
    Row(
        "federation_membership",
        "federation.membership.serving.templates._make",
        by_server,
        ask_for_template,
    ),
    Row("federation_membership", "federation.membership.serving.taking.take", by_server, hand_in),
    Row(
        "federation_membership",
        "federation.membership.serving.invites._invite",
        by_server,
        invite_from_elsewhere,
    ),
    Row(
        "federation_membership",
        "federation.membership.serving.third_party.exchange",
        by_server,
        exchange_invite,
    ),
    Row(
        "federation_invite",
        "federation.membership.serving.invites._record",
        lambda stage: f"{by_server(stage)}|{stage.alice.user_id}",
        invite_to_a_room_elsewhere,
    ),
    Row("federation_pdu", "federation.inbound.transactions.taking.take_transaction", by_server, send_events),
    Row("federation_parked", "federation.inbound.transactions.working.park", by_server, park_event),
    Row("federation_state", "federation.serving.access.take_state_request", by_server, ask_for_state),
    Row("federation_media", "media.federating._answer", by_server, media_requests.send_media),
    Row("media_fetch", "media.remote._fetch_or_wait", by_user, media_requests.fetch_media),
    Row("url_preview", "media.previews.get_url_preview", by_user, media_requests.preview),
    Row("media_fetch_megabytes", "media.remote._take", by_server, media_requests.take_megabytes),
    Row(
        "federation_to_device", "federation.devices.messages.take_messages", by_server, send_message_to_device
    ),
    Row("federation_ephemera", "federation.ephemera.taking.may_go_on", by_server, send_ephemera),
    Row("federation_keys", "federation.devices.serving.get_user_devices", by_server, ask_for_devices),
    Row("federation_keys", "federation.devices.serving._take", by_server, ask_for_keys),
    Row("profile_query", "federation.profiles._remote", by_address, ask_for_profile),
    Row("key_fetch", "federation.authentication._keys", by_address, fetch_keys),
    Row("key_query", "federation.keys.notary._query", by_address, query_keys),
    Row("profile", "profiles.profile.set_profile_field", by_user, set_field),
    Row(
        "profile",
        "profiles.profile.delete_profile_field",
        by_user,
        lambda stage: stage.alice.delete(f"{V3}/profile/{stage.alice.user_id}/m.tz"),
    ),
    Row(
        "message",
        "rooms.writing.sending.send_message",
        by_user,
        lambda stage: stage.alice.put(stage.room_path("send", "m.x", f"t{next(_numbers)}"), {}),
    ),
    Row(
        "message",
        "rooms.writing.sending.set_state",
        by_user,
        lambda stage: stage.alice.put(stage.room_path("state", "m.room.topic", ""), {"topic": "tea"}),
    ),
    Row(
        "message",
        "drafts.v2.actions.act",
        by_user,
        lambda stage: stage.alice.post(stage.room_path("send", "m.x", version=V2), {}),
    ),
    Row(
        "redaction",
        "rooms.writing.sending.redact_event",
        by_user,
        lambda stage: stage.alice.put(stage.room_path("redact", stage.event, f"t{next(_numbers)}"), {}),
    ),
    Row(
        "join",
        "rooms.membership.joining.join_room",
        by_user,
        lambda stage: stage.alice.post(stage.room_path("join")),
    ),
    Row("join", "rooms.membership.joining.knock_on_room", by_user, knock),
    Row("invite", "rooms.membership.operations.invite_user", by_user, moderate("invite")),
    Row("moderation", "rooms.membership.operations.kick_user", by_user, moderate("kick")),
    Row("moderation", "rooms.membership.operations.ban_user", by_user, moderate("ban")),
    Row("moderation", "rooms.membership.operations.unban_user", by_user, moderate("unban")),
    Row(
        "room_creation",
        "rooms.lifecycle.creation.create_room",
        by_user,
        lambda stage: stage.alice.post(f"{V3}/createRoom"),
    ),
    Row(
        "room_creation",
        "rooms.lifecycle.upgrades.upgrade_room",
        by_user,
        lambda stage: stage.alice.post(stage.room_path("upgrade"), {"new_version": "12"}),
    ),
    Row(
        "presence",
        "presence.requests.set_status",
        by_user,
        lambda stage: stage.alice.put(f"{V3}/presence/{stage.alice.user_id}/status", {"presence": "online"}),
    ),
    Row(
        "presence",
        "presence.requests.change_list",
        by_user,
        lambda stage: stage.alice.post(f"{V1}/presence/list/{stage.alice.user_id}", {"drop": ["@x:y"]}),
    ),
    Row(
        "media_upload",
        "media.repository.check_upload",
        by_user,
        lambda stage: stage.alice.post("/_matrix/media/v3/upload", b"x"),
    ),
    Row(
        "media_wait",
        "media.finding._await_content",
        by_user,
        media_requests.wait_for_media,
        refusal=(504, "M_NOT_YET_UPLOADED"),
    ),
    Row(
        "report",
        "reports._add",
        by_user,
        lambda stage: stage.alice.post(stage.room_path("report"), {"reason": "rude"}),
    ),
    Row(
        "pusher",
        "push.pushers.set_pusher",
        by_user,
        lambda stage: stage.alice.post(f"{V3}/pushers/set", PUSHER),
    ),
    Row(
        "search",
        "search.messages.search",
        by_user,
        lambda stage: stage.alice.post(
            f"{V3}/search", {"search_categories": {"room_events": {"search_term": "a"}}}
        ),
    ),
    Row(
        "user_directory",
        "search.user_directory.search_user_directory",
        by_user,
        lambda stage: stage.alice.post(f"{V3}/user_directory/search", {"search_term": "a"}),
    ),
    Row("delayed_event", "rooms.delayed.scheduling._schedule", by_user, delayed.scheduling_one),
    Row("delayed_event_action", "rooms.delayed.managing.manage", by_user, delayed.managing_one("restart")),
    Row("message", "rooms.delayed.delivery._send", by_user, delayed.managing_one("send")),
    Row("registration", "accounts.registration.register", by_address, register),
    Row("registration", "drafts.v1.logins.register", by_address, register_by_token),
    Row(
        "registration_query",
        "accounts.registration.check_username_availability",
        by_address,
        lambda stage: stage.stranger.get(f"{V3}/register/available", username="free"),
    ),
    Row("registration_query", "accounts.registration_tokens.check_validity", by_address, ask_token),
    Row("registration_query", "accounts.registration.register", by_address, begin_registration),
    Row("openid_token", "accounts.openid.request_openid_token", by_user, ask_openid_token),
    Row("login", "accounts.credentials.prove_by_password", by_address, log_in),
    Row(
        "login",
        "accounts.login.login",
        by_address,
        lambda stage: stage.stranger.post(f"{V3}/login", {"type": "m.login.token", "token": "x"}),
    ),
    Row("login", "accounts.interactive.auth_pages.submit_page", by_address, submit_page),
    Row(
        "login",
        "drafts.v1.logins.login",
        by_address,
        lambda stage: stage.log_in_by("m.login.email.code", session="x" * 24 + "." + "x" * 16),
    ),
    Row(
        "login_poll",
        "drafts.v1.logins.login",
        by_address,
        lambda stage: stage.log_in_by("m.login.email.url", session="x" * 24 + "." + "x" * 16),
    ),
    Row("failed_login", "accounts.login_guesses.take", by_user, log_in_elsewhere),
    Row("failed_login_from", "accounts.login_guesses.take", by_guess, log_in),
    Row(
        "login_mail",
        "accounts.interactive.email_stages._recipient",
        by_mail,
        lambda stage: stage.log_in_by(
            "m.login.email.code", user=stage.alice.user_id, email=stage.mail_address
        ),
    ),
    Row("login_token", "accounts.login.generate_login_token", by_user, get_login_token),
    Row("proof_request", "accounts.threepids.proofs.request_token", by_address, ask_for_proof),
    Row("proof_mail", "accounts.threepids.proofs.request_token", by_mail, ask_for_proof),
    Row("sso", "accounts.sso.login.start", by_address, go_to_provider),
    Row("sso", "accounts.interactive.oauth2_stage.choose", by_address, choose_provider),
]


@pytest.fixture
def stage(
    make_client: Callable[..., Client],
    configure: Callable[..., None],
    address: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    from murmuration.accounts import passwords
    from murmuration.storage.users import accounts

    alice, bob = make_client("alice"), make_client("bob")
    alice.source_ip = address()
    accounts.set_password(UserId(alice.user_id), passwords.hash_password(PASSWORD))
    room = create_room(alice, preset="public_chat")
    invite(alice, room, bob)
    join(bob, room)
    event = send(alice, room)
    monkeypatch.setattr("murmuration.aws.mail.send", lambda *mail: None)
    monkeypatch.setattr("murmuration.aws.objects.put", lambda *what: None)
    monkeypatch.setattr("murmuration.media.finding.time.sleep", _fail_to_wait)
    monkeypatch.setattr(
        "murmuration.accounts.sso.login.request_uri", lambda *_, **__: "https://acme.example/"
    )
    configure(RATE_LIMITS="on")
    monkeypatch.setattr(turns, "EVERYBODY", f"everybody like {alice.user_id}")
    rate_limits._full.clear()
    yield Stage(alice, bob, room, event, configure)
    rate_limits._full.clear()


def _fail_to_wait(seconds: float) -> None:
    raise AssertionError("a function waits")


def drain(row: Row, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all there is from the row's bucket, and stop the clock, so that nothing comes back."""
    now = clock.now_ms()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    for _ in range(NUMBERS[row.kind][1]):
        rate_limits.check(row.kind, row.key(stage))


def outcome(answer: Answer) -> tuple[int, str]:
    text = answer.body.decode() if answer.body.startswith(b"{") else "{}"
    return answer.status, json.loads(text).get("errcode", "")


def remove(place: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this place take nothing of this kind any more."""
    check, taking = rate_limits.check, rate_limits.Taking

    def called_from() -> str:
        frame = sys._getframe(2)
        return f"{frame.f_globals['__name__'].removeprefix('murmuration.')}.{frame.f_code.co_name}"

    def passing(name: str, key: str, count: int = 1) -> int:
        return 0 if (called_from(), name) == (place, kind) else check(name, key, count)

    class Passing(taking):  # type: ignore[valid-type,misc]
        def __init__(self, name: str, key: str, count: int = 1) -> None:
            super().__init__(name, key, 0 if (called_from(), name) == (place, kind) else count)

    monkeypatch.setattr(rate_limits, "check", passing)
    for module in ("rooms.writing.sending", "rooms.delayed.delivery", "drafts.v2.actions"):
        monkeypatch.setattr(f"murmuration.{module}.Taking", Passing)


def name_of(row: Row) -> str:
    return f"{row.kind} in {row.place}"


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_request_beyond_a_limit_is_refused(row: Row, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    drain(row, stage, monkeypatch)
    assert outcome(row.request(stage)) == row.refusal


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_request_passes_if_this_place_takes_nothing(
    row: Row, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the place the same request passes: the row above holds this place and no other."""
    drain(row, stage, monkeypatch)
    remove(row.place, row.kind, monkeypatch)
    assert outcome(row.request(stage)) != row.refusal


def test_the_limits_are_these() -> None:
    assert {kind: (limit.per_second, limit.burst) for kind, limit in LIMITS.items()} == NUMBERS


def test_every_place_has_a_row() -> None:
    assert {(row.place, row.kind) for row in ROWS} == set(_places())
    assert {row.kind for row in ROWS} == set(LIMITS)


def _places() -> Iterator[tuple[str, str]]:
    """Yield each place in the code that takes from a bucket, with the kinds that it names."""
    root = Path(next(iter(murmuration.__path__)))
    for file in root.rglob("*.py"):
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef) or module == "identity.rate_limits":
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in ("rate_limits.check", "Taking"):
                    kinds = [call.args[0]]
                    if isinstance(call.args[0], ast.IfExp):
                        kinds = [call.args[0].body, call.args[0].orelse]
                    for kind in kinds:
                        yield f"{module}.{function.name}", str(ast.literal_eval(kind))

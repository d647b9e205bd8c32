"""Users who registered as clients do, a clock that tests set, and the deployment's settings to choose."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.identity_provider import CLIENT_SECRET, Provider, identity_provider
from tests.in_process import Answer, Client

PASSWORD = "correct horse"


@dataclass
class Clock:
    """Stands still until it's moved."""

    now: int

    def advance(self, milliseconds: int) -> None:
        self.now += milliseconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the time as the accounts' code sees it."""
    from murmuration.clock import now_ms

    clock = Clock(now_ms())
    for module in (
        "murmuration.identity.rate_limits",
        "murmuration.identity.authentication",
        "murmuration.accounts.login",
        "murmuration.accounts.management",
        "murmuration.accounts.openid",
        "murmuration.accounts.registration",
        "murmuration.accounts.registration_tokens",
        "murmuration.accounts.sessions",
        "murmuration.storage.auth.auth_sessions",
        "murmuration.storage.auth.login_mails",
        "murmuration.storage.auth.login_states",
        "murmuration.storage.auth.user_tokens",
    ):
        monkeypatch.setattr(importlib.import_module(module), "now_ms", lambda: clock.now)
    return clock


@pytest.fixture
def configure(deployment: None) -> Iterator[Callable[..., None]]:
    """Change settings for the test: `configure(REGISTRATION="closed")`."""
    from murmuration.settings import settings

    with pytest.MonkeyPatch.context() as patch:

        def change(**environment: str) -> None:
            for name, value in environment.items():
                patch.setenv(f"MURMURATION_{name}", value)
            settings.cache_clear()

        yield change
    settings.cache_clear()


@pytest.fixture
def limits_on(configure: Callable[..., None]) -> Iterator[None]:
    """Limit rates, as a deployment does."""
    from murmuration.identity import rate_limits

    configure(RATE_LIMITS="on")
    rate_limits._full.clear()
    yield
    rate_limits._full.clear()


@pytest.fixture
def address(fresh_name: Callable[..., str]) -> Callable[[], str]:
    """Return a maker of IP addresses, each of a network that no other test uses."""
    from hashlib import sha256

    def make() -> str:
        digest = sha256(fresh_name().encode()).hexdigest()
        return f"2001:db8:{digest[:4]}:{digest[4:8]}::1"

    return make


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """Yield an identity provider, which sends browsers back to `example.org`."""
    from murmuration.accounts.sso.login import CALLBACK

    with identity_provider(f"https://example.org{CALLBACK}") as found:
        yield found


@pytest.fixture
def offer(
    provider: Provider,
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    fresh_name: Callable[..., str],
) -> Callable[..., str]:
    """Return a function that adds the provider to the settings, and returns its ID.

    The ID is used by no other test, so that the provider's users are new here.

    `more` goes into what settings say of it, `others` are further providers, `settings` further settings.
    """
    monkeypatch.setattr("murmuration.aws.parameters.read_secret", lambda _: CLIENT_SECRET)

    def make(
        *,
        count: int = 1,
        others: Sequence[Mapping[str, Any]] = (),
        settings: Mapping[str, str] | None = None,
        **more: Any,
    ) -> str:
        own = [provider.setting(fresh_name("canaille"), **more) for _ in range(count)]
        listed = json.dumps([*own, *others])
        configure(IDENTITY_PROVIDERS=listed, SSO_PRIVATE_PROVIDERS="on", **(settings or {}))
        return str(own[0]["id"])

    return make


@pytest.fixture
def fresh_name(fresh_user_id: Callable[..., str]) -> Callable[..., str]:
    """Return a maker of localparts that no other test uses."""
    return lambda name="user": fresh_user_id(name)[1:].partition(":")[0]


@pytest.fixture
def register(fresh_name: Callable[..., str]) -> Callable[..., Client]:
    """Return a function that registers a user and returns their client."""

    def make(name: str | None = None, **fields: Any) -> Client:
        answer = Client().post(
            "/_matrix/client/v3/register",
            {
                "username": name or fresh_name(),
                "password": PASSWORD,
                "auth": {"type": "m.login.dummy"},
                **fields,
            },
        )
        assert answer.status == 200, answer.json
        return Client(answer.json["access_token"], answer.json["user_id"], answer.json["device_id"])

    return make


@pytest.fixture
def log_in() -> Callable[..., Client]:
    """Return a function that logs a user in on another device and returns that client."""

    def make(user: Client, **fields: Any) -> Client:
        answer = Client().post(
            "/_matrix/client/v3/login",
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user.user_id},
                "password": PASSWORD,
                **fields,
            },
        )
        assert answer.status == 200, answer.json
        return Client(answer.json["access_token"], answer.json["user_id"], answer.json["device_id"])

    return make


def password_auth(user: Client, password: str = PASSWORD, session: str | None = None) -> dict[str, Any]:
    """Return the `auth` of a password stage."""
    auth: dict[str, Any] = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": password,
    }
    return auth if session is None else {**auth, "session": session}


def errcode(answer: Answer) -> tuple[int, str | None]:
    """Return an answer's status and error code; None if it has no code."""
    return answer.status, answer.json.get("errcode")

"""Settings from the CDK context, and the messages for wrong ones."""

from __future__ import annotations

import pytest

from infra_cdk.parts.functions import DeploymentError
from infra_cdk.settings import SettingsError, read_settings
from infra_cdk.stack import environment
from murmuration.accounts.sso.identity_providers import read_providers

MINIMAL = {"server_name": "example.org"}


def test_a_server_name_is_enough() -> None:
    settings = read_settings(MINIMAL)
    assert settings.prefix == "murmuration-prod"
    assert settings.registration == "closed"
    assert settings.ephemeral is False


def test_a_command_lines_strings_are_understood() -> None:
    given = MINIMAL | {"memory": "1024", "ephemeral": "true", "turn_uris": "turn:a.org, turn:b.org"}
    settings = read_settings(given)
    assert (settings.memory, settings.ephemeral) == (1024, True)
    assert settings.turn_uris == ("turn:a.org", "turn:b.org")


def test_the_cdks_own_flags_are_passed_over() -> None:
    assert read_settings(MINIMAL | {"@aws-cdk/core:x": True, "aws:cdk:y": 1}) == read_settings(MINIMAL)


PROVIDER = {"id": "a", "name": "A", "client_id": "x", "issuer": "https://a.example"}


def test_logins_are_given_as_functions_read_them() -> None:
    given = MINIMAL | {"login_flows": "m.login.password,m.login.oauth2", "identity_providers": [PROVIDER]}
    settings = read_settings(given)
    assert settings.login_flows == (("m.login.password", "m.login.oauth2"),)
    assert read_providers(settings.identity_providers_text)[0].issuer == "https://a.example"
    assert read_settings(MINIMAL | {"identity_providers": settings.identity_providers_text}) == read_settings(
        MINIMAL | {"identity_providers": [PROVIDER]}
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "server_name is missing: set it in the context of cdk.json, or pass -c server_name="),
        ({"server_name": "not a name"}, "server_name is 'not a name': it must be a server name"),
        (MINIMAL | {"memmory": 1}, "memmory is not a setting; did you mean memory?"),
        (MINIMAL | {"registration": "maybe"}, "registration is 'maybe'"),
        (MINIMAL | {"memory": 64}, "memory is 64"),
        (MINIMAL | {"stage": "Prod"}, "stage is 'Prod'"),
        (MINIMAL | {"domain": "m.example.org"}, "domain and certificate_arn go together"),
        (
            MINIMAL | {"domain": "m.example.org", "certificate_arn": "arn:aws:acm:eu-west-1:1:certificate/1"},
            "certificate_arn must name a certificate in us-east-1",
        ),
        (MINIMAL | {"unauthenticated_media_before": "soon"}, "unauthenticated_media_before is 'soon'"),
        (MINIMAL | {"unauthenticated_media_before": "2026-01-31"}, "a time with its zone"),
        (MINIMAL | {"media_quota_bytes": -1}, "media_quota_bytes is -1"),
        (MINIMAL | {"login_flows": [["m.login.oauth2"]]}, "there are no identity providers"),
        (MINIMAL | {"login_flows": "m.login.email.code"}, "there is no sender of mail"),
        (MINIMAL | {"identity_providers": "{"}, "identity_providers is '{'"),
        (
            MINIMAL | {"identity_providers": [PROVIDER | {"client_secret": "x"}]},
            "client_secret is not a setting of a provider",
        ),
        (
            MINIMAL | {"identity_providers": [PROVIDER | {"id": f"a{i}"} for i in range(40)]},
            "functions have room for 2500",
        ),
    ],
)
def test_mistakes_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings(wrong)
    assert said in str(raised.value)


def test_what_functions_have_no_room_for_is_refused_before_anything_is_made() -> None:
    """Lambda limits a function's variables to 4 KB, and would refuse the first function of a deployment."""
    servers = [f"server-{number}.example.org" for number in range(16)]
    providers = [PROVIDER | {"id": f"a{number}", "name": "A" * 60} for number in range(14)]
    lists = ("federation_allow", "federation_deny", "key_notaries")
    parts = dict.fromkeys(("PUBLIC_URL", "QUEUE_URLS", "MEDIA_BUCKET", "SOCKET_ENDPOINT"), "x" * 90)
    environment(read_settings(MINIMAL | {"identity_providers": providers}), **parts)
    given = MINIMAL | {"identity_providers": providers} | dict.fromkeys(lists, servers)
    with pytest.raises(DeploymentError, match=r"has room for 4096: shorten some of identity_providers, "):
        environment(read_settings(given), **parts)


def test_each_mistake_has_its_line() -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings({"memory": 1, "colour": "red"})
    assert len(str(raised.value).splitlines()) == 3

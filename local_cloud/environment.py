"""The environment of the functions: their settings, and credentials that reach no real account."""

from __future__ import annotations

import os
from collections.abc import Mapping

from local_cloud.config import Config
from local_cloud.names import PREFIX, QUEUE_URLS, REGION, STAGE, WEBSOCKET_API_ID, domain

MEDIA_BUCKET = f"{PREFIX}-media"
QUEUE_SECRET_PARAMETER = f"/{PREFIX}/queue-secret"
VIEWER_SECRET_PARAMETER = f"/{PREFIX}/viewer-secret"

_REAL_ACCOUNT = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


def environment(config: Config, dynamodb_url: str | None) -> dict[str, str]:
    """Return the variables that the deployed functions would have, for this local cloud."""
    found = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        "MURMURATION_SERVER_NAME": config.name,
        "MURMURATION_PUBLIC_URL": config.url,
        "MURMURATION_PREFIX": PREFIX,
        "MURMURATION_REGISTRATION": config.registration,
        "MURMURATION_RATE_LIMITS": "on" if config.rate_limits else "off",
        "MURMURATION_WAITING": config.waiting,
        "MURMURATION_WAITS": config.waits,
        "MURMURATION_API": config.api,
        "MURMURATION_QUEUE_URLS": QUEUE_URLS,
        "MURMURATION_MEDIA_BUCKET": MEDIA_BUCKET,
        "MURMURATION_VIEWER_SECRET_PARAMETER": VIEWER_SECRET_PARAMETER,
        "MURMURATION_SOCKET_ENDPOINT": f"https://{domain(WEBSOCKET_API_ID)}/{STAGE}",
    }
    found |= _federation(config)
    found |= {f"MURMURATION_{name}": value for name, value in config.variables.items()}
    if dynamodb_url is not None:
        found["AWS_ENDPOINT_URL_DYNAMODB"] = dynamodb_url
        found["AWS_ENDPOINT_URL_DYNAMODB_STREAMS"] = dynamodb_url
    return found


def _federation(config: Config) -> dict[str, str]:
    """Return the settings of federation. Servers on this machine get no notary, because it couldn't reach
    them.
    """
    return {
        "MURMURATION_FEDERATION": "on" if config.federation_port else "off",
        "MURMURATION_FEDERATION_LOOPBACK": "on" if config.allow_loopback else "off",
        "MURMURATION_FEDERATION_CA": str(config.ca or ""),
        "MURMURATION_KEY_NOTARIES": "none" if config.allow_loopback else "matrix.org",
    }


def enter(variables: Mapping[str, str]) -> dict[str, str | None]:
    """Set `variables` in this process, and remove those that could reach a real account.

    Returns the previous values.
    """
    before = {name: os.environ.get(name) for name in (*variables, *_REAL_ACCOUNT)}
    os.environ.update(variables)
    for name in _REAL_ACCOUNT:
        os.environ.pop(name, None)
    return before


def leave(before: Mapping[str, str | None]) -> None:
    """Restore the values that `enter` returned."""
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

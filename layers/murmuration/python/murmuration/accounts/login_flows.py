"""The flows by which users log in: those in `MURMURATION_LOGIN_FLOWS`, or those that other settings imply.

Flows are separated by spaces, and a flow's stages by commas: `m.login.password
m.login.email.url,m.login.oauth2`.
"""

from __future__ import annotations

import functools

from murmuration.accounts.interactive.interactive_auth import EMAIL_CODE, EMAIL_URL, OAUTH2, PASSWORD, Flow
from murmuration.settings import Settings, SettingsError, settings

VARIABLE = "MURMURATION_LOGIN_FLOWS"
TYPES = (PASSWORD, OAUTH2, EMAIL_CODE, EMAIL_URL)


def login_flows() -> tuple[Flow, ...]:
    """Return this deployment's flows, the preferred one first. Raises SettingsError."""
    return _cached(settings())


@functools.cache
def _cached(config: Settings) -> tuple[Flow, ...]:
    return read_login_flows(
        config.login_flows, mail=bool(config.mail_sender), providers=bool(config.identity_providers)
    )


def read_login_flows(text: str, *, mail: bool, providers: bool) -> tuple[Flow, ...]:
    """Return the flows in the setting `text`. If it is empty, return the flows that mail and identity
    providers allow.

    No flow may be the beginning of another: the login would end before a client that chose the longer flow is
    done. Raises SettingsError.
    """
    if not text.split():
        return ((PASSWORD,), *(((OAUTH2,),) if providers else ()), *(_BY_MAIL if mail else ()))
    flows = tuple(dict.fromkeys(tuple(flow.split(",")) for flow in text.split()))
    for flow in flows:
        if unknown := [kind for kind in flow if kind not in TYPES]:
            raise SettingsError(f"{VARIABLE} has {unknown[0]!r}; the types of stages are {', '.join(TYPES)}")
        if len(set(flow)) < len(flow):
            raise SettingsError(f"{VARIABLE} has a stage twice in {','.join(flow)}")
        if not mail and {EMAIL_CODE, EMAIL_URL} & set(flow):
            raise SettingsError(f"{VARIABLE} has {','.join(flow)}, but there is no sender of mail")
        if not providers and OAUTH2 in flow:
            raise SettingsError(f"{VARIABLE} has {','.join(flow)}, but there are no identity providers")
        if any(other != flow and other[: len(flow)] == flow for other in flows):
            raise SettingsError(f"{VARIABLE} has {','.join(flow)}, with which another flow begins")
    return flows


_BY_MAIL: tuple[Flow, ...] = ((EMAIL_CODE,), (EMAIL_URL,))

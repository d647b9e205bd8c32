"""The identity providers by which users of this deployment may log in, as its settings list them.

`MURMURATION_IDENTITY_PROVIDERS` is a JSON list of objects with the fields of `IdentityProvider`. A provider's
client secret is the SSM parameter `identity-provider-<id>`.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from murmuration.protocol.addresses import is_web_url
from murmuration.protocol.errors import NotFound
from murmuration.settings import SettingsError, settings

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted

VARIABLE = "MURMURATION_IDENTITY_PROVIDERS"
ClientAuth = Literal["client_secret_basic", "client_secret_post"]
_ID = re.compile(r"[A-Za-z0-9._~-]{1,255}")
_BRAND = re.compile(r"[a-z][a-z0-9._-]{0,254}")
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """An OpenID Connect provider or, without an `issuer`, one of plain OAuth 2.0.

    Endpoints that aren't given are discovered from the issuer. Without an issuer, the subject is the claim
    `subject_claim` in the answer of `userinfo_endpoint`. `icon` is an `mxc:` URI, `brand` is as in
    https://spec.matrix.org/v1.19/client-server-api/#definition-mloginsso-flow-schema.
    """

    id: str
    name: str
    client_id: str
    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    jwks_uri: str = ""
    scopes: tuple[str, ...] = ("openid", "profile")
    client_auth: ClientAuth = "client_secret_basic"
    subject_claim: str = "sub"
    localpart_claim: str = "preferred_username"
    display_name_claim: str = "name"
    creates_accounts: bool = True
    icon: str = ""
    brand: str = ""

    @property
    def public(self) -> dict[str, str]:
        """The fields that clients may see."""
        found = {"id": self.id, "name": self.name, "icon": self.icon, "brand": self.brand}
        return {name: value for name, value in found.items() if value}


def read_providers(text: str) -> tuple[IdentityProvider, ...]:
    """Return the providers in the setting's text. Raises SettingsError, which names the faulty provider."""
    if not text:
        return ()
    import json

    try:
        listed = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{VARIABLE} is not JSON: {error}") from error
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise SettingsError(f"{VARIABLE} must be a list of objects")
    found = tuple(_read(number, each) for number, each in enumerate(listed, 1))
    ids = [provider.id for provider in found]
    if len(set(ids)) < len(ids):
        raise SettingsError(f"{VARIABLE} has two providers of one id")
    return found


@functools.cache
def _cached(text: str) -> tuple[IdentityProvider, ...]:
    return read_providers(text)


def providers() -> tuple[IdentityProvider, ...]:
    """Return this deployment's providers, in the order of its settings. Raises SettingsError."""
    return _cached(settings().identity_providers)


def provider(provider_id: str) -> IdentityProvider:
    """Return the provider with this ID. Raises NotFound."""
    for each in providers():
        if each.id == provider_id:
            return each
    raise NotFound("There is no such identity provider")


def _read(number: int, listed: Untrusted) -> IdentityProvider:
    where = f"{VARIABLE}, provider {listed.get('id', number)!r}"
    known = {each.name: each for each in fields(IdentityProvider)}
    if unknown := sorted(listed.keys() - known.keys()):
        raise SettingsError(f"{where}: {', '.join(unknown)} is not a setting of a provider")
    values: dict[str, Any] = dict(listed)
    for name, value in listed.items():
        if name == "scopes":
            if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
                raise SettingsError(f"{where}: scopes must be a list of strings")
            values[name] = tuple(value)
        elif name == "creates_accounts":
            if not isinstance(value, bool):
                raise SettingsError(f"{where}: creates_accounts must be true or false")
        elif not isinstance(value, str):
            raise SettingsError(f"{where}: {name} must be a string")
    if missing := [name for name in ("id", "name", "client_id") if not values.get(name)]:
        raise SettingsError(f"{where}: {', '.join(missing)} is missing")
    found = IdentityProvider(**values)
    _check(found, where)
    return found


def _check(found: IdentityProvider, where: str) -> None:
    if not _ID.fullmatch(found.id):
        raise SettingsError(f"{where}: an id has the characters A-Z a-z 0-9 . _ ~ - only")
    if found.brand and not _BRAND.fullmatch(found.brand):
        raise SettingsError(f"{where}: brand must be a namespaced identifier, such as github")
    if found.icon and not found.icon.startswith("mxc://"):
        raise SettingsError(f"{where}: icon must be an mxc: URI")
    if found.client_auth not in get_args(ClientAuth):
        raise SettingsError(f"{where}: client_auth must be one of {', '.join(get_args(ClientAuth))}")
    for name in ("issuer", *_ENDPOINTS):
        url = getattr(found, name)
        if url and not is_web_url(url):
            raise SettingsError(f"{where}: {name} must be an https: URL")
    if found.issuer and "openid" not in found.scopes:
        raise SettingsError(f"{where}: the scopes of a provider with an issuer must have openid")
    if not found.issuer:
        needed = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
        if missing := [name for name in needed if not getattr(found, name)]:
            raise SettingsError(f"{where}: without an issuer, {', '.join(missing)} must be given")

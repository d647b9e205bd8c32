"""A user's pushers, as clients set and list them.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

from __future__ import annotations

from urllib.parse import urlsplit

from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.addresses import parse_address
from murmuration.protocol.bodies import Fields, limit_size
from murmuration.protocol.encoding.shapes import Answer, JsonObject
from murmuration.protocol.errors import InvalidParam, MissingParam
from murmuration.settings import settings
from murmuration.storage.users import pushers as storage
from murmuration.storage.users.pushers import Pusher

HTTP = "http"
PATH = "/_matrix/push/v1/notify"
MOST_KEY_BYTES = 512
MOST_APP_CHARACTERS = 64
MOST_TEXT_BYTES = 512
MOST_DATA_BYTES = 2048
NEEDED = ("app_display_name", "device_display_name", "lang", "data")
SHOWN = ("app_id", "pushkey", "kind", "app_display_name", "device_display_name", "lang", "data")


def get_pushers(requester: Requester) -> Answer:
    """Return all pushers of the requester.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
    """
    return {"pushers": [_shown(each) for each in storage.read_pushers(requester.user_id).pushers]}


def _shown(pusher: Pusher) -> JsonObject:
    shown = {name: getattr(pusher, name) for name in SHOWN}
    return shown | ({"profile_tag": pusher.profile_tag} if pusher.profile_tag else {})


def set_pusher(requester: Requester, body: Fields) -> None:
    """Add or replace one of the requester's pushers, or delete it if `kind` is null.

    Without `append` other users lose their pushers with this app and push key. That is done last, so if a
    request stopped halfway, repeating it completes it. Raises MissingParam, BadJson, InvalidParam, TooLarge,
    LimitExceeded. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
    """
    app_id, pushkey = body.string("app_id"), body.string("pushkey")
    _check_names(app_id, pushkey)
    if "kind" not in body.values:
        raise MissingParam("kind is missing")
    if body.values["kind"] is None:
        storage.remove_pushers(requester.user_id, [(app_id, pushkey)])
        return
    pusher = _parse(requester, app_id, pushkey, body)
    append = body.boolean("append", default=False)
    rate_limits.check("pusher", requester.user_id)
    storage.set_pusher(requester.user_id, pusher)
    if not append:
        for user_id in storage.users_of(app_id, pushkey):
            if user_id != requester.user_id:
                storage.remove_pushers(user_id, [pusher.pair], made_before_ms=pusher.made_ms)


def _check_names(app_id: str, pushkey: str) -> None:
    if not 0 < len(app_id) <= MOST_APP_CHARACTERS:
        raise InvalidParam(f"app_id must have 1 to {MOST_APP_CHARACTERS} characters")
    if not 0 < len(pushkey.encode()) <= MOST_KEY_BYTES:
        raise InvalidParam(f"pushkey must have 1 to {MOST_KEY_BYTES} bytes")


def _parse(requester: Requester, app_id: str, pushkey: str, body: Fields) -> Pusher:
    if missing := [name for name in NEEDED if body.values.get(name) is None]:
        raise MissingParam(f"Missing: {', '.join(missing)}")
    if (kind := body.string("kind")) != HTTP:
        raise InvalidParam(f"This server has pushers of the kind {HTTP} only")
    data = body.object("data")
    limit_size(data, "data", MOST_DATA_BYTES)
    check_gateway(data.get("url"))
    texts = {name: body.string(name) for name in NEEDED[:3]}
    texts["profile_tag"] = body.optional_string("profile_tag") or ""
    for name, text in texts.items():
        if len(text.encode()) > MOST_TEXT_BYTES:
            raise InvalidParam(f"{name} may have {MOST_TEXT_BYTES} bytes")
    return Pusher(
        app_id=app_id,
        pushkey=pushkey,
        kind=kind,
        data=data,
        device_id=requester.device_id,
        made_ms=now_ms(),
        **texts,
    )


def check_gateway(url: object) -> None:
    """Raise MissingParam or InvalidParam if a push gateway's URL is missing or not allowed.

    It must be https. A deployment that allows private gateways also allows plain HTTP on the loopback.
    """
    if url is None:
        raise MissingParam("data has no url")
    if not isinstance(url, str):
        raise InvalidParam("The url must be a string")
    try:
        address = parse_address(url)
    except ValueError as error:
        raise InvalidParam(f"The url can't be used: {error}") from error
    parts = urlsplit(address.url)
    schemes = ("https", "http") if settings().push_private_gateways else ("https",)
    if address.scheme not in schemes:
        raise InvalidParam("The url must begin with https://")
    if parts.path != PATH or parts.query or parts.fragment:
        raise InvalidParam(f"The url must have the path {PATH} and nothing behind it")

"""Registration: new accounts. https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.accounts import passwords, registration_tokens, sessions
from murmuration.accounts.interactive.interactive_auth import (
    DUMMY,
    EMAIL_IDENTITY,
    REGISTRATION_TOKEN,
    Attempt,
    Authorised,
    Flow,
    authorise,
    is_session,
)
from murmuration.accounts.sessions import SessionRequest
from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import TokenPair
from murmuration.protocol.bodies import Fields
from murmuration.protocol.errors import (
    BadJson,
    Forbidden,
    InvalidUsername,
    MissingParam,
    ThreepidInUse,
    Unavailable,
    UserInteractiveAuthRequired,
    UserInUse,
)
from murmuration.protocol.identifiers import UserId, is_valid_new_localpart, user_id_from
from murmuration.settings import settings
from murmuration.storage.auth import auth_sessions
from murmuration.storage.auth.auth_sessions import StoredSession
from murmuration.storage.live.streams import pause
from murmuration.storage.users import accounts, profiles, threepids, user_words

if TYPE_CHECKING:
    from murmuration.accounts.shapes import BareAnswer
    from murmuration.aws.dynamodb import Item
    from murmuration.protocol.encoding.shapes import JsonObject

ATTEMPTS = 8
SESSION = "session"
"""The name of the write that uses up a session of user-interactive authentication."""
PARAMETERS = (
    "username",
    "password",
    "device_id",
    "initial_device_display_name",
    "inhibit_login",
    "refresh_token",
)
"""The parameters that only a session's first request has to send."""
PASSWORD_HASH = "password_hash"  # noqa: S105 - a name
_FLOWS: Mapping[str, Flow] = {"open": (), "token": (REGISTRATION_TOKEN,)}
"""The stages that a registration needs, by the kind of registration."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def register(kind: str, attempt: Attempt) -> BareAnswer:
    """Create an account for a client, and begin a session unless the client asks not to.

    If a successful registration is repeated with the same session and password, the user is logged in,
    because the answer to the first request may have been lost. Later requests of a session may leave out the
    parameters that its first request sent. Raises Forbidden, InvalidUsername, UserInUse, WeakPassword,
    MissingParam, BadJson, InvalidParam, LimitExceeded, UserInteractiveAuthRequired.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
    """
    flows = _flows()
    if kind == "guest":
        raise Forbidden("Guest access is disabled on this homeserver")
    session = attempt.auth.get("session")
    stored = StoredSession()
    if session is not None and is_session(session):
        stored = auth_sessions.read_session(session)
    body = {**stored.parameters, **attempt.body}
    localpart = parse_username(body.get("username"))
    inhibit_login = body.get("inhibit_login")
    if inhibit_login is not None and not isinstance(inhibit_login, bool):
        raise BadJson("inhibit_login must be a boolean")
    session_request = None if inhibit_login else SessionRequest.parse(body, attempt.source_ip)
    if body.get("password") is not None:
        passwords.parse_new_password(body["password"])
    if attempt.auth:
        rate_limits.check("registration", attempt.source_ip)
    elif any(attempt.body.get(name) is not None for name in PARAMETERS):
        rate_limits.check("registration_query", attempt.source_ip)
    if localpart is not None and session is None:
        _require_available(localpart)
    # The body isn't bound to the session: a changed name does no harm, and a user whose name was taken
    # meanwhile can try another.
    try:
        authorised = authorise(attempt, flows, bind_body=False, purpose="register")
    except UserInteractiveAuthRequired as error:
        if session is None:
            _remember(str(error.fields["session"]), attempt)
        raise
    if body.get("password") is None and PASSWORD_HASH in stored.parameters:
        return _create(localpart, stored.parameters[PASSWORD_HASH], authorised, session_request)
    password = passwords.parse_new_password(body.get("password"))
    repeated = _registered_before(session, password, attempt.source_ip) if session is not None else None
    if repeated is not None:
        return _log_in(repeated, session_request)
    return _create(localpart, passwords.hash_password(password), authorised, session_request)


def _remember(session: str, attempt: Attempt) -> None:
    """Store the parameters of a session's first request, so that later requests may leave them out as with
    Synapse.

    A parameter in a later request overrides the stored one. The password is stored as its hash.
    """
    given = {name: attempt.body[name] for name in PARAMETERS if attempt.body.get(name) is not None}
    if not given:
        return
    if "password" in given:
        given[PASSWORD_HASH] = passwords.hash_password(passwords.parse_new_password(given.pop("password")))
    auth_sessions.remember_parameters(session, given)


def check_username_availability(username: str | None, *, source_ip: str) -> dict[str, bool]:
    """Check that `username` can be registered.

    Raises Forbidden if registration is closed, MissingParam, InvalidUsername, UserInUse, LimitExceeded.
    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
    """
    _flows()
    if username is None:
        raise MissingParam("The query parameter username is missing")
    rate_limits.check("registration_query", source_ip)
    localpart = parse_username(username)
    if localpart is not None:
        _require_available(localpart)
    return {"available": True}


def create_account(localpart: str, password: str, *, is_admin: bool = False) -> UserId:
    """Make an account for an operator, and return its user ID.

    Raises InvalidUsername, UserInUse, WeakPassword, InvalidParam.
    """
    name = parse_username(localpart, reserved=True)
    if name is None:
        raise InvalidUsername("A username is needed")
    user_id = user_id_of(name)
    password_hash = passwords.hash_password(passwords.parse_new_password(password))
    writes = account_writes(user_id, name, password_hash, now=now_ms(), is_admin=is_admin)
    try:
        dynamodb.transact(writes)
    except ConditionFailed as error:
        raise UserInUse("This user ID is already taken") from error
    return user_id


def request_token(body: Fields, *, source_ip: str) -> dict[str, str]:
    """Mail a link to an address that a new account is to have. Returns the session (`sid`) that proves the
    address.

    Raises Forbidden if registration is closed, ThreepidInUse and what `proofs.request_token` raises.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
    """
    from murmuration.accounts.threepids import proofs

    _flows()
    return proofs.request_token("register", body, source_ip=source_ip)


def _flows() -> list[Flow]:
    """Return the flows on offer. If the server sends mail, they include one that adds an address to the
    account.

    No flow is the beginning of another: the registration would end before a client that chose the longer flow
    is done.
    """
    config = settings()
    try:
        needed = _FLOWS[config.registration]
    except KeyError as error:
        raise Forbidden("Registration is disabled on this homeserver") from error
    if config.mail_sender:
        return [(*needed, DUMMY), (*needed, EMAIL_IDENTITY)]
    return [needed or (DUMMY,)]


def parse_username(username: object, *, reserved: bool = False) -> str | None:
    """Return the localpart for a requested username, in lower case; None if the server is to choose one.

    Names that begin with `_` are allowed only if `reserved`: by convention they belong to bridges. Raises
    BadJson, InvalidUsername.
    """
    if username is None:
        return None
    if not isinstance(username, str):
        raise BadJson("username must be a string")
    localpart = username.lower() if username.isascii() else username
    if not is_valid_new_localpart(localpart, settings().server_name):
        raise InvalidUsername("A username has the characters a-z 0-9 . _ = - / + only, and isn't too long")
    if localpart.startswith("_") and not reserved:
        raise InvalidUsername("A username doesn't begin with _")
    return localpart


def _require_available(localpart: str) -> None:
    if accounts.read_account(user_id_of(localpart)) is not None:
        raise UserInUse("This user ID is already taken")


def user_id_of(localpart: str) -> UserId:
    """Return the ID of this server's user with that localpart."""
    return user_id_from(localpart, settings().server_name)


def _registered_before(session: str, password: str, source_ip: str) -> UserId | None:
    """Return the user that the session registered, if the password is theirs; None if it registered nobody.

    Raises UserInUse, LimitExceeded.
    """
    user_id = auth_sessions.read_session(session).registered
    if user_id is None:
        return None
    from murmuration.accounts.credentials import is_right_password

    if not is_right_password(user_id, password, source_ip=source_ip):
        raise UserInUse("This session has registered a user already")
    return user_id


def _log_in(user_id: UserId, request: SessionRequest | None) -> BareAnswer:
    if request is None:
        return _bare_answer(user_id)
    from murmuration.accounts.login import begin_session

    return begin_session(user_id, request, [accounts.check_active(user_id)])


def _create(
    localpart: str | None, password_hash: str, authorised: Authorised, request: SessionRequest | None
) -> BareAnswer:
    for race in range(ATTEMPTS):
        name = localpart if localpart is not None else random_localpart()
        user_id, now = user_id_of(name), now_ms()
        writes = account_writes(user_id, name, password_hash, now=now)
        writes.append(auth_sessions.registered_write(authorised.session, user_id).named(SESSION))
        if EMAIL_IDENTITY in authorised.proofs:
            writes += _address_writes(user_id, authorised.proofs[EMAIL_IDENTITY])
        if REGISTRATION_TOKEN in authorised.proofs:
            token = authorised.proofs[REGISTRATION_TOKEN]["token"]
            writes.append(registration_tokens.use_write(token, authorised.session))
        answer = _bare_answer(user_id)
        if request is not None:
            pair = TokenPair.fresh(refreshable=request.refreshable, now=now)
            device_id = request.device_id or sessions.new_device_id()
            writes.append(accounts.create_device_write(user_id, device_id, request.new_device(pair, now=now)))
            answer = sessions.session_answer(user_id, device_id, pair, now=now)
        try:
            dynamodb.transact(writes)
        except ConditionFailed as error:
            # If a random name is taken, the next attempt chooses another one.
            if error.refused(accounts.ACCOUNT) and localpart is not None:
                raise UserInUse("This user ID is already taken") from error
            if error.refused(SESSION):
                raise UserInUse("This session has registered a user already") from error
            if error.refused(threepids.ADDRESS):
                raise ThreepidInUse("This address belongs to an account already") from error
            pause(race)
            continue
        return answer
    raise Unavailable("Too many registrations at once; try again")


def account_writes(
    user_id: UserId, display_name: str, password_hash: str | None, *, now: int, is_admin: bool = False
) -> list[Write]:
    """Return the writes that create an account with its profile.

    The write named ACCOUNT claims the user ID. Without a password, the owner has to log in by other means.
    """
    account: Item = {"kind": "user", "created_ms": now}
    if password_hash is not None:
        account["password_hash"] = password_hash
    if is_admin:
        account["admin"] = True
    return [
        accounts.create_account_write(user_id, account),
        profiles.profile_write(user_id, {"displayname": display_name}),
        *user_words.word_writes(user_id, display_name),
    ]


def _address_writes(user_id: UserId, proof: JsonObject) -> list[Write]:
    """Return the writes that give the user the proved address; the one named `threepids.ADDRESS`
    claims it.
    """
    from murmuration.accounts.threepids import binding

    return binding.add_writes(user_id, binding.EMAIL, proof["address"], validated_ms=int(proof["at_ms"]))


def _bare_answer(user_id: UserId) -> BareAnswer:
    return {"user_id": user_id, "home_server": settings().server_name}


def random_localpart() -> str:
    """Return a random localpart for a registration without a name."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))

"""The specification's errors: one class for each errcode that the homeserver raises.

Domain code raises them; only `murmuration.endpoint` turns them into a status and a JSON body.
https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Answer, JsonObject


MOST_MESSAGE = 1_000
"""The maximum number of characters of an error's message that a client gets."""


class MatrixError(Exception):
    """An error in the answer to a client: HTTP `status`, `errcode`, a sentence, and further fields of the
    body.
    """

    status: int = 400
    errcode: str = "M_UNKNOWN"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def body(self) -> Answer:
        """Return the standard error response as a JSON object.

        A message that repeats a part of the request is cut, so that an error is never so large that it would
        have to be stored and the client redirected to it.
        """
        message = self.message
        if len(message) > MOST_MESSAGE:
            message = f"{message[:MOST_MESSAGE]}…"
        return {"errcode": self.errcode, "error": message, **self.fields}


class Unknown(MatrixError):
    """M_UNKNOWN, for errors that no other errcode describes."""


class Forbidden(MatrixError):
    status = 403
    errcode = "M_FORBIDDEN"


class AnotherUser(Forbidden):
    """A stage of an authentication names or proves another user than the one whom the request is about."""


class MissingToken(MatrixError):
    status = 401
    errcode = "M_MISSING_TOKEN"


class Unauthorized(MatrixError):
    """A federation request doesn't prove which server sends it."""

    status = 401
    errcode = "M_UNAUTHORIZED"


class UnknownToken(MatrixError):
    """The access or refresh token isn't valid (any more). `soft_logout` says that the device still exists."""

    status = 401
    errcode = "M_UNKNOWN_TOKEN"


class LoginEmailUrlNotYet(MatrixError):
    """The link in the mail hasn't been followed yet; the client asks again."""

    status = 403
    errcode = "M_LOGIN_EMAIL_URL_NOT_YET"


class UserDeactivated(MatrixError):
    status = 403
    errcode = "M_USER_DEACTIVATED"


class UserLocked(MatrixError):
    status = 401
    errcode = "M_USER_LOCKED"


class UserSuspended(MatrixError):
    status = 403
    errcode = "M_USER_SUSPENDED"


class BadJson(MatrixError):
    errcode = "M_BAD_JSON"


class NotJson(MatrixError):
    errcode = "M_NOT_JSON"


class MissingParam(MatrixError):
    errcode = "M_MISSING_PARAM"


class InvalidParam(MatrixError):
    errcode = "M_INVALID_PARAM"


class MalformedEvent(InvalidParam):
    """An event that no room accepts, whoever sends it."""


class InvalidUsername(MatrixError):
    errcode = "M_INVALID_USERNAME"


class UserInUse(MatrixError):
    errcode = "M_USER_IN_USE"


class WeakPassword(MatrixError):
    errcode = "M_WEAK_PASSWORD"


class KeyTooLarge(MatrixError):
    errcode = "M_KEY_TOO_LARGE"


class ProfileTooLarge(MatrixError):
    errcode = "M_PROFILE_TOO_LARGE"


class ThreepidMediumNotSupported(MatrixError):
    """The server can't reach anybody by this medium."""

    errcode = "M_THREEPID_MEDIUM_NOT_SUPPORTED"


class ThreepidDenied(MatrixError):
    """Identifiers of this medium aren't accepted."""

    errcode = "M_THREEPID_DENIED"
    status = 403


class ThreepidInUse(MatrixError):
    errcode = "M_THREEPID_IN_USE"


class ThreepidNotFound(MatrixError):
    """The address doesn't belong to an account."""

    errcode = "M_THREEPID_NOT_FOUND"


class ThreepidAuthFailed(MatrixError):
    """The address isn't proved to be the user's."""

    errcode = "M_THREEPID_AUTH_FAILED"


class ServerNotTrusted(MatrixError):
    """The request depends on a server that this one doesn't contact."""

    errcode = "M_SERVER_NOT_TRUSTED"


class RoomInUse(MatrixError):
    errcode = "M_ROOM_IN_USE"


class InviteBlocked(MatrixError):
    """The invited user doesn't want invites."""

    status = 403
    errcode = "M_INVITE_BLOCKED"


class InvalidRoomState(MatrixError):
    errcode = "M_INVALID_ROOM_STATE"


class AliasInUse(MatrixError):
    """The alias to be created exists already."""

    status = 409


class BadAlias(MatrixError):
    errcode = "M_BAD_ALIAS"


class BadPagination(MatrixError):
    """Client API v1's error for invalid parameters of a page."""

    errcode = "M_BAD_PAGINATION"


class BadState(MatrixError):
    """The state that a request would change isn't there, for example if a user to unban isn't banned."""

    status = 403
    errcode = "M_BAD_STATE"


class UnsupportedRoomVersion(MatrixError):
    errcode = "M_UNSUPPORTED_ROOM_VERSION"


class IncompatibleRoomVersion(MatrixError):
    """The requesting server doesn't support the room's version (field `room_version`)."""

    errcode = "M_INCOMPATIBLE_ROOM_VERSION"


class UnableToAuthoriseJoin(MatrixError):
    """This server can't tell whether the user is in one of the rooms whose members may join."""

    errcode = "M_UNABLE_TO_AUTHORISE_JOIN"


class UnableToGrantJoin(MatrixError):
    """The user may join, but no local user has the power to authorise it. Another server may have one."""

    errcode = "M_UNABLE_TO_GRANT_JOIN"


class BadGateway(MatrixError):
    """Another server is needed, and gives no usable answer."""

    status = 502


class GatewayTimeout(MatrixError):
    """Another server takes longer than the client can wait. The work continues in the background."""

    status = 504


class Refusal(MatrixError):
    """An error of another server, passed on with its own status and errcode."""

    def __init__(self, status: int, errcode: str, message: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status = status
        self.errcode = errcode


class DuplicateAnnotation(MatrixError):
    errcode = "M_DUPLICATE_ANNOTATION"


class NotFound(MatrixError):
    status = 404
    errcode = "M_NOT_FOUND"


class MalformedPath(MatrixError):
    """The path lacks a required part, or has an extra one."""

    errcode = "M_UNRECOGNIZED"


class Unrecognized(MatrixError):
    status = 404
    errcode = "M_UNRECOGNIZED"


class MethodNotAllowed(MatrixError):
    """The path exists, but not with this method."""

    status = 405
    errcode = "M_UNRECOGNIZED"


class ServerManaged(MatrixError):
    """Only the server may set this value."""

    status = 405
    errcode = "M_BAD_JSON"


class InvalidKeySignature(MatrixError):
    """A key or device for end-to-end encryption has a signature that its signer didn't make."""

    errcode = "M_INVALID_SIGNATURE"


class WrongRoomKeysVersion(MatrixError):
    """Not the current backup of room keys; pass `current_version`."""

    status = 403
    errcode = "M_WRONG_ROOM_KEYS_VERSION"


class CannotOverwriteMedia(MatrixError):
    status = 409
    errcode = "M_CANNOT_OVERWRITE_MEDIA"


class NotYetUploaded(MatrixError):
    status = 504
    errcode = "M_NOT_YET_UPLOADED"


class TooLarge(MatrixError):
    status = 413
    errcode = "M_TOO_LARGE"


class TooLargeToServe(TooLarge):
    """The media can't be sent in the requested way, or another server's media are too large."""

    status = 502


class Conflict(MatrixError):
    """The object of the request has already ended in another way."""

    status = 409


class DelayTooLarge(MatrixError):
    """The requested delay of an event is longer than the server allows."""

    errcode = "M_DELAY_TOO_LARGE"


class UnstableDelayTooLarge(DelayTooLarge):
    """The same error, for clients that use the proposal's names."""

    errcode = "ORG.MATRIX.MSC4140_DELAY_TOO_LARGE"


class UnknownPos(MatrixError):
    """The position in a sliding sync isn't known any more. The client has to start its connection again."""

    errcode = "M_UNKNOWN_POS"


class LimitExceeded(MatrixError):
    """Too many requests; pass `retry_after_ms`."""

    status = 429
    errcode = "M_LIMIT_EXCEEDED"


class UserInteractiveAuthRequired(MatrixError):
    """401 with flows, params and session, instead of an errcode or, after a failed stage, in addition to one.

    https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
    """

    status = 401

    def __init__(self, fields: JsonObject, failure: MatrixError | None = None) -> None:
        super().__init__(failure.message if failure else "Authentication is required", **fields)
        self.failure = failure

    def body(self) -> Answer:
        return {**(self.failure.body() if self.failure else {}), **self.fields}


class Unavailable(MatrixError):
    """A temporary condition (contention, an unavailable dependency): the client should try again."""

    status = 503
    errcode = "M_UNKNOWN"

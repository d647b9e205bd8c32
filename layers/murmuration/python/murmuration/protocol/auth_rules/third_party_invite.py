"""The rules about a third-party invite that the identifier's owner has accepted.

https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from murmuration.protocol.auth_rules.selection import third_party_token
from murmuration.protocol.auth_rules.table import ALLOW, Facts, Refusal, Rule, RuleTable, Verdict, refuse
from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.event_types import THIRD_PARTY_INVITE
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.signing import InvalidSignature, key_ids_of, verify_json

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content, JsonObject
    from murmuration.protocol.identifiers import ServerName


def _target_not_banned(facts: Facts) -> Verdict:
    if facts.membership(facts.event.member_id) == "ban":
        return Refusal("The invited user is banned from the room")
    return None


def _is_signed(facts: Facts) -> Verdict:
    return Refusal("The third-party invite is not signed") if _signed(facts.event) is None else None


def _names_user_and_token(facts: Facts) -> Verdict:
    signed = _signed(facts.event) or {}
    if "mxid" not in signed or third_party_token(facts.event.content) is None:
        return Refusal("The signed part of the third-party invite lacks its mxid or token")
    return None


def _signed_for_target(facts: Facts) -> Verdict:
    if (_signed(facts.event) or {})["mxid"] != facts.event.state_key:
        return Refusal("The third-party invite was signed for another user")
    return None


def _token_is_in_room(facts: Facts) -> Verdict:
    if _invite_to_identifier(facts) is None:
        return Refusal("The room has no third-party invite with this token")
    return None


def _same_sender(facts: Facts) -> Verdict:
    invite = _invite_to_identifier(facts)
    if invite is not None and invite.sender != facts.event.sender:
        return Refusal("The third-party invite was sent by another user")
    return None


def _signature_matches(facts: Facts) -> Verdict:
    signed = _signed(facts.event) or {}
    invite = _invite_to_identifier(facts)
    keys = list(_public_keys(invite.content)) if invite else []
    for server_name, key_id in _ed25519_signatures(signed):
        for key in keys:
            try:
                verify_json(signed, server_name, key_id, key)
            except InvalidSignature:
                continue
            return ALLOW
    return None


def _signed(event: Event) -> JsonObject | None:
    invite = event.content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    return signed if isinstance(signed, dict) else None


def _invite_to_identifier(facts: Facts) -> Event | None:
    token = third_party_token(facts.event.content)
    return None if token is None else facts.state.get((THIRD_PARTY_INVITE, token))


def _public_keys(content: Content) -> Iterator[bytes]:
    """Yield the keys under `public_key` and `public_keys`. Values that aren't Base64 are skipped."""
    listed = content.get("public_keys")
    entries = [content, *(listed if isinstance(listed, list) else [])]
    for entry in entries:
        encoded = entry.get("public_key") if isinstance(entry, dict) else None
        if isinstance(encoded, str):
            try:
                yield unpadded_base64.decode(encoded)
            except ValueError:
                continue


def _ed25519_signatures(signed: JsonObject) -> Iterator[tuple[ServerName, str]]:
    """Yield the server name and key ID of each signature to try."""
    signatures = signed.get("signatures")
    for server_name in signatures if isinstance(signatures, dict) else ():
        for key_id in key_ids_of(signed, server_name):
            yield server_name, key_id


check_third_party_invite = RuleTable(
    Rule(_target_not_banned),
    Rule(_is_signed),
    Rule(_names_user_and_token),
    Rule(_signed_for_target),
    Rule(_token_is_in_room),
    Rule(_same_sender),
    Rule(_signature_matches),
    Rule(refuse("No signature of the third-party invite is by one of its public keys")),
)

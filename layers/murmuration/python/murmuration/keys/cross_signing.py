"""Cross-signing: a user's three keys, and signatures. https://spec.matrix.org/v1.19/client-server-api/#cross-signing"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity.tokens import Requester
from murmuration.keys.query import split_by_server
from murmuration.protocol.bodies import check_signatures, limit_size, object_of, required, strings_of
from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.encoding.shapes import Answer, Body, KeyObject
from murmuration.protocol.errors import (
    Forbidden,
    InvalidKeySignature,
    InvalidParam,
    MatrixError,
    MissingParam,
    NotFound,
    Unavailable,
)
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.protocol.pdus import signing
from murmuration.storage.keys import identity_keys, remote_devices
from murmuration.storage.keys.device_lists import record_change, record_private_change
from murmuration.storage.keys.identity_keys import (
    PURPOSES,
    Identity,
    Purpose,
    Signature,
    digest,
    public_key,
)
from murmuration.storage.live import streams

ED25519 = "ed25519:"
MAX_KEY_BYTES = 16_384
MOST_OUTLIVED = 100
"""How many useless signatures one request deletes."""
MAX_SIGNATURES = 1_000
ATTEMPTS = 5


# -- The keys --------------------------------------------------------------------------------------------


def upload_cross_signing_keys(requester: Requester, body: Body, prove: Callable[[], object]) -> None:
    """Publish cross-signing keys. To change existing ones, `prove` is called, which raises unless the user
    proves who they are.

    Raises BadJson, MissingParam, InvalidParam, InvalidKeySignature, Forbidden if a device's ID equals a key,
    and what `prove` raises.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload
    """
    user_id = requester.user_id
    new = {
        purpose: _parse_key(body[f"{purpose}_key"], purpose, user_id)
        for purpose in PURPOSES
        if body.get(f"{purpose}_key") is not None
    }
    for retry in range(ATTEMPTS):
        (identity,) = identity_keys.read_identities([user_id])
        _check_new_keys(identity, new)
        old = identity.cross_signing
        if not _changes(new, old):
            break
        if "master" in old:
            prove()
        # Signatures of an old master key don't belong to the new identity.
        orphaned = PURPOSES[1:] if "master" in new and _changes({"master": new["master"]}, old) else ()
        try:
            identity_keys.write_cross_signing(user_id, new, old=old, remove=orphaned)
        except ConditionFailed:
            streams.pause(retry)
            continue
        break
    else:
        raise Unavailable("The user's keys are being changed; try again")
    # Also if nothing changed: an earlier attempt may have stored the keys and stopped before this.
    if set(new) == {"user_signing"}:
        record_private_change(user_id, user_id)  # no other user sees this key
    elif new:
        record_change(user_id, signing_keys=True)


def _parse_key(value: object, purpose: Purpose, user_id: UserId) -> KeyObject:
    name = f"{purpose}_key"
    key = object_of(value, name)
    limit_size(key, name, MAX_KEY_BYTES)
    if required(key, "user_id") != user_id:
        raise InvalidParam(f"{name} is another user's")
    if purpose not in strings_of(required(key, "usage"), "usage"):
        raise InvalidParam(f"The usage of {name} must be {purpose}")
    keys = object_of(required(key, "keys"), "keys")
    if len(keys) != 1:
        raise InvalidParam(f"{name} must have one public key")
    ((key_id, public),) = keys.items()
    if not isinstance(public, str) or key_id != ED25519 + public or _key_bytes(public) is None:
        raise InvalidParam(f"{name} must be an Ed25519 key, whose ID names it")
    check_signatures(key.get("signatures", {}))
    return key


def _key_bytes(public: str) -> bytes | None:
    """Return the 32 bytes of a public key in Base64, or None if it isn't one."""
    try:
        data = unpadded_base64.decode(public)
    except ValueError:
        return None
    return data if len(data) == 32 else None


def _check_new_keys(identity: Identity, new: Mapping[Purpose, KeyObject]) -> None:
    if not new:
        return
    master = new.get("master") or identity.cross_signing.get("master")
    if master is None:
        raise MissingParam("No master signing key is available")
    for purpose, key in new.items():
        if purpose != "master":
            _verify(key, identity.user_id, ED25519 + public_key(master), public_key(master))
        if public_key(key) in identity.device_ids:
            raise Forbidden("A device has the ID of this key")


def _changes(new: Mapping[Purpose, KeyObject], old: Mapping[Purpose, KeyObject]) -> bool:
    return any(purpose not in old or digest(key) != digest(old[purpose]) for purpose, key in new.items())


def _verify(signed: KeyObject, user_id: UserId, key_id: str, public: str) -> None:
    """Check the signature on `signed` by a key of `user_id`. Raises InvalidKeySignature."""
    try:
        signing.verify_json(signed, user_id, key_id, _key_bytes(public) or b"")
    except signing.InvalidSignature as error:
        raise InvalidKeySignature(error.message) from error


# -- Signatures ------------------------------------------------------------------------------------------


def upload_cross_signing_signatures(requester: Requester, body: Body) -> dict[str, Answer]:
    """Publish signatures that the requester made. Returns the refused ones, as `{user ID: {key: error}}`.

    Raises BadJson, InvalidParam for a body that isn't `{user ID: {key: signed object}}`.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
    """
    wanted = [
        (UserId(user_id), key, object_of(signed, "A signed object"))
        for user_id, by_key in body.items()
        for key, signed in object_of(by_key, "The objects of a user").items()
    ]
    if len(wanted) > MAX_SIGNATURES:
        raise InvalidParam(f"A request may have {MAX_SIGNATURES} signed objects")
    local, remote = split_by_server({UserId(user_id): by_key for user_id, by_key in body.items()})
    identities = identity_keys.read_identities(list({requester.user_id: None} | dict.fromkeys(local)))
    identities += _remote_identities([user_id for users in remote.values() for user_id in users])
    by_user = {identity.user_id: identity for identity in identities}
    signatures: list[Signature] = []
    failures: dict[str, dict[str, Any]] = {}
    for user_id, key, signed in wanted:
        try:
            signatures += _new_signatures(by_user[requester.user_id], by_user.get(user_id), key, signed)
        except MatrixError as error:
            failures.setdefault(user_id, {})[key] = error.body()
    signer = by_user[requester.user_id]
    outlived = [each for each in signer.signatures if _is_outlived(signer, each)] if signatures else []
    identity_keys.write_signatures(requester.user_id, signatures, outlived=outlived[:MOST_OUTLIVED])
    _announce(signer, signatures)
    return failures


def _is_outlived(signer: Identity, signature: Signature) -> bool:
    """Return whether a user's signature on an own key has become useless.

    This is the case if the signed device or master key is gone, or the key that signed it. Each login adds a
    signature, and each query of the user's keys reads all of them.
    """
    if signature.key in signer.devices:
        own = signer.cross_signing.get("self_signing")
        return own is None or signature.signer != ED25519 + public_key(own)
    master = signer.cross_signing.get("master")
    if master is None or public_key(master) != signature.key:
        return True
    return signature.signer.removeprefix(ED25519) not in signer.device_ids


def _remote_identities(user_ids: Sequence[UserId]) -> list[Identity]:
    """Return the known identities of remote users, whose keys the requester has looked up before signing
    them.
    """
    if not user_ids:
        return []
    found = remote_devices.read_lists(user_ids)
    return [
        Identity(user_id, exists=True, cross_signing={"master": one.content.master})
        for user_id, one in found.items()
        if one.content is not None and one.content.master is not None
    ]


def _announce(signer: Identity, signatures: Sequence[Signature]) -> None:
    """Tell the users who see new signatures: on an own key, everybody who sees it; on another user's key,
    only the signer.
    """
    own = {signature.key for signature in signatures if signature.user_id == signer.user_id}
    if own:
        devices = sorted(own & signer.devices.keys())
        record_change(signer.user_id, devices=devices, signing_keys=len(devices) < len(own))
    for user_id in {signature.user_id for signature in signatures} - {signer.user_id}:
        record_private_change(signer.user_id, user_id)


def _new_signatures(signer: Identity, owner: Identity | None, key: str, signed: KeyObject) -> list[Signature]:
    """Return the signatures by `signer` on a key or device. Raises NotFound, InvalidParam,
    InvalidKeySignature.
    """
    stored = _stored(signer, owner, key)
    if not signing.key_ids_of(signed, signer.user_id):
        raise InvalidKeySignature("The object bears no signature of the user's")
    if digest(signed) != digest(stored):
        raise InvalidParam("The signed object is not the key that was uploaded")
    if owner is not signer:
        made_by = _cross_signer(signer, "user_signing")
    elif key in signer.devices:
        made_by = _cross_signer(signer, "self_signing")
    else:
        made_by = _device_signers(signer, stored, signed)
    for key_id, public in made_by.items():
        _verify(signed, signer.user_id, key_id, public)
    user_id = owner.user_id if owner else signer.user_id
    return [
        Signature(user_id, key, key_id, signed["signatures"][signer.user_id][key_id], digest(signed))
        for key_id in made_by
    ]


def _stored(signer: Identity, owner: Identity | None, key: str) -> KeyObject:
    """Return the key that `key` names: a user's master key, or a device of the signer. Raises NotFound."""
    if owner is not None and owner.exists:
        if owner is signer and key in signer.devices:
            return signer.devices[DeviceId(key)]
        master = owner.cross_signing.get("master")
        if master is not None and public_key(master) == key:
            return master
    raise NotFound("There is no such key to be signed")


def _cross_signer(signer: Identity, purpose: Purpose) -> dict[str, str]:
    key = signer.cross_signing.get(purpose)
    if key is None:
        raise NotFound(f"The {purpose.replace('_', '-')} key has not been uploaded")
    return {ED25519 + public_key(key): public_key(key)}


def _device_signers(signer: Identity, master: KeyObject, signed: KeyObject) -> dict[str, str]:
    """Return the keys of devices that signed the master key, without those whose signatures are known
    already.
    """
    known = signer.with_signatures(public_key(master), master).get("signatures", {}).get(signer.user_id, {})
    made_by = {}
    for key_id in signing.key_ids_of(signed, signer.user_id):
        if signed["signatures"][signer.user_id][key_id] == known.get(key_id):
            continue
        device = signer.devices.get(DeviceId(key_id.removeprefix(ED25519)))
        if device is None or key_id not in device["keys"]:
            raise InvalidKeySignature(f"There is no device with the key {key_id}")
        made_by[key_id] = device["keys"][key_id]
    return made_by

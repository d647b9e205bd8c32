"""Users with devices, put straight into the tables: for tests that aren't about registering or logging in."""

from __future__ import annotations

from murmuration.aws import dynamodb
from murmuration.identity import tokens
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.users import accounts
from tests.in_process import Client


def log_in(user_id: UserId, device_id: str = "DEVICE", *, display_name: str | None = None) -> Client:
    """Return a client of `user_id`. The account and the device are created if they don't exist."""
    secret = tokens.new_secret()
    device = {
        **accounts.device_key(user_id, DeviceId(device_id)),
        "access_hash": tokens.hash_secret(secret),
        "display_name": display_name,
    }
    dynamodb.batch_write(
        [dynamodb.put("users", accounts.account_key(user_id)), dynamodb.put("users", device)]
    )
    token = tokens.render_token(tokens.ACCESS, user_id, DeviceId(device_id), secret)
    return Client(token, user_id, device_id)


def put_membership(user_id: str, room_id: str, membership: str = "join") -> None:
    """Give `user_id` a membership in a room without any other items."""
    dynamodb.execute(
        dynamodb.put(
            "users",
            {
                "user_id": user_id,
                "sk": f"membership#{room_id}",
                "membership": membership,
                "event_id": "$event",
                "sender": user_id,
                "ordinal": 1,
                "since": 1,
            },
        )
    )

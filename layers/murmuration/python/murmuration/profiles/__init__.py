"""Profiles: what a user shows of themselves. https://spec.matrix.org/v1.19/client-server-api/#profiles"""

from murmuration.profiles.profile import (
    delete_profile_field,
    get_profile_field,
    get_user_profile,
    member_profile,
    profile_fields,
    set_profile_field,
)
from murmuration.storage.users.profiles import profile_key

__all__ = [
    "delete_profile_field",
    "get_profile_field",
    "get_user_profile",
    "member_profile",
    "profile_fields",
    "profile_key",
    "set_profile_field",
]

"""Profiles: what a user shows of themselves. https://spec.matrix.org/v1.19/client-server-api/#profiles"""

from murmuration.profiles.profile import (
    delete_profile_field,
    get_profile_field,
    get_user_profile,
    set_profile_field,
)

__all__ = ["delete_profile_field", "get_profile_field", "get_user_profile", "set_profile_field"]

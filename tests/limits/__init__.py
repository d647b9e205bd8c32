"""No user's data make another user's answer too large."""

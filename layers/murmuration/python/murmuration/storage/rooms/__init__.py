"""Items about rooms: heads, logs, state, snapshots, relations, aliases.

What is sent to waiting clients is in `storage.live`.
"""

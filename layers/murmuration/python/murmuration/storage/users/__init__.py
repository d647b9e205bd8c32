"""Items about users: accounts, devices, profiles, memberships, account data, presence.

Encryption keys are in `storage.keys`.
"""

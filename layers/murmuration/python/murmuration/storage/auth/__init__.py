"""Items about logging in: sessions of user-interactive authentication, mails, tokens for a while.

Access tokens are in the device's item, in `storage.users.accounts`.
"""

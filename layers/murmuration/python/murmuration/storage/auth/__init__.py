"""Items for login: sessions of user-interactive authentication, mails, short-lived tokens.

Access tokens are in the device's item, in `storage.users.accounts`.
"""

"""Who makes a request: access tokens, their verification, and rate limits.

How a user proves who they are is in `accounts`.
"""

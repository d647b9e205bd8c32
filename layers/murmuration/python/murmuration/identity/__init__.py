"""The requester of a request: access tokens, their verification, rate limits and budgets.

How a user proves who they are is in `accounts`.
"""

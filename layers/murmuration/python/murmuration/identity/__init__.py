"""The requester of a request: access tokens, their verification, rate limits and budgets.

How users prove their identity at login is in `accounts`.
"""

"""Push rules: which events notify a user, and how.

`defaults` has the server's rules as a table, `ruleset` merges a user's changes into them and makes further
changes, `validation` checks what clients send, `evaluation` applies a ruleset to an event.
https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

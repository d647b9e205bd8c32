"""Push rules: which events notify a user, and how.

`defaults` has the server's rules as a table, `ruleset` merges what a user has changed over them and makes
further changes, `validation` checks what clients put, `evaluation` asks a ruleset about an event.
https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

"""Federation: events, keys and queries between this server and others.

It depends on `rooms`, which knows only a port that federation connects to. `names` finds servers, `requests`
sends requests to them, `keys` has their signing keys and this server's, `authentication` checks which server
sent a request.
"""

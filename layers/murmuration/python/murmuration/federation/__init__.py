"""The server-server API: finding and asking other homeservers, and answering them.

`names` finds servers, `requests` asks them, `keys` has their signing keys and this server's. What rooms are
is not decided here.
"""

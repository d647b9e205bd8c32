"""From a server's name to where it is reached, and which servers are spoken with at all.

No federation request is made here; `federation.requests` does that with what is found here.
"""

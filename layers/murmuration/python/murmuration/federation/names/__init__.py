"""Finds the hosts of a server by its name, and decides which servers are asked at all.

No federation request is made here; `federation.requests` does that with the hosts found here.
"""

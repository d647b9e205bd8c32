"""Finds the hosts of a server by its name, and decides which servers may be contacted.

No federation request is made here; `federation.requests` makes them to the hosts found here.
"""

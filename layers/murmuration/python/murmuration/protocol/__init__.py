"""The protocol as pure functions: identifiers, events, signatures, auth rules, state resolution; no I/O, no
clock.
"""

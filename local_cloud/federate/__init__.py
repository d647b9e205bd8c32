"""Three homeservers on this machine that federate: two of ours and a Synapse; `make federate` starts them.

The certificates that they trust each other by are made here. How one of ours is served isn't decided here.
"""

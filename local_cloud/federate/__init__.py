"""Three homeservers on this machine that federate: two of ours and a Synapse; `make federate` starts them.

The certificates by which they trust each other are made here. This package doesn't decide how our servers are
served.
"""

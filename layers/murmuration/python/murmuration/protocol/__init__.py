"""The protocol, pure: identifiers, events, signatures, auth rules, state resolution; no I/O, no clock."""

"""Push: users' pushers, the events of which they notify, and the calls of push gateways."""

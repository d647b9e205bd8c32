"""Push: users' pushers, the events they are told of, and the calls of push gateways."""

"""Push: pushers, which events they are told of, and the calls of push gateways."""

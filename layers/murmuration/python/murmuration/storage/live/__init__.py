"""Items about what is new: sequenced streams, positions, sync tokens, listeners, WebSockets."""

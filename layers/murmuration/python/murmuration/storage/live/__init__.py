"""Items about updates: sequenced streams, positions, sync tokens, listeners, WebSockets."""

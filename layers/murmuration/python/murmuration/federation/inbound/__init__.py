"""Incoming events of other servers: judged by their position in the graph, and stored."""

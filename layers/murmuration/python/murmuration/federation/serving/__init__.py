"""Answers other servers' questions about rooms: events, states, older events."""

"""Answering other servers that ask about rooms: events, states, the past."""

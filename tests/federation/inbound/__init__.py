"""Receiving and serving: rooms shared with made-up servers."""

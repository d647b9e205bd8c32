"""Joining, leaving, inviting and knocking across servers."""

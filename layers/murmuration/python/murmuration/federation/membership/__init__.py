"""Joining, leaving, inviting and knocking where another server takes part."""

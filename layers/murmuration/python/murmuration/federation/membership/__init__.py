"""Joining, leaving, inviting and knocking if another server takes part."""

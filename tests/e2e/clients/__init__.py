"""Scenarios by clients' own libraries, and a phone with a push gateway."""

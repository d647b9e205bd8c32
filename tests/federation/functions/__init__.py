"""Functions for local clouds under test: their keys, an endpoint for servers only, one that calls it."""

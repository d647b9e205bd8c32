"""User-interactive authentication: stages, flows, sessions and the fallback pages."""

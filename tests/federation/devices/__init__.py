"""Encryption across servers, and what passes between them beside events."""

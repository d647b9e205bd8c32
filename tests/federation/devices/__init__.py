"""Encryption across servers, and EDUs between them."""

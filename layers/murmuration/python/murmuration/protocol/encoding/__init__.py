"""Encodings: canonical JSON, unpadded base64, globs, property paths."""

"""Encodings: canonical JSON, unpadded base64, globs, paths of properties."""

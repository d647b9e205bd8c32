"""PDUs: their format, hashes, signatures, redaction, and the checks on receipt."""

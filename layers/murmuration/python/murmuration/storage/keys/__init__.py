"""Items about end-to-end encryption: identity keys, one-time keys, backups, markers of changed devices."""

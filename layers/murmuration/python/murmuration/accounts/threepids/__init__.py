"""Third-party identifiers: the addresses that users have elsewhere, and proof that they are theirs."""

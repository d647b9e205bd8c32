"""What the operator runs: the `murmuration` command, doctor, users, keys, costs."""

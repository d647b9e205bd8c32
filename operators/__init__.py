"""The operator's commands: `murmuration` with doctor, users, keys, costs and others."""

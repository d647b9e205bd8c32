"""Accounts: registration, login and other proofs of who a user is, users' devices and profiles."""

"""Accounts: who there is, how they prove it, their devices and profiles."""

"""Third-party identifiers: users' addresses outside of Matrix, and the proof that they own them."""

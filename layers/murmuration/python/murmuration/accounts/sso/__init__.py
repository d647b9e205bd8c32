"""Single sign-on: identity providers, redirects to them and back, and the accounts of their users."""

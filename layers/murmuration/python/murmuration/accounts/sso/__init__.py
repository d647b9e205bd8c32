"""Single sign-on: identity providers, sending the browser to them and back, and their users' accounts."""

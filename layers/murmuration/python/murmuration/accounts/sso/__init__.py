"""Single sign-on: identity providers, the browser's way to them and back, whose account it is."""

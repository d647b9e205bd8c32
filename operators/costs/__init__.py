"""What a deployment costs: prices, how much is used of what, and the bill that comes of both."""

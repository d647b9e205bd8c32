"""What a deployment costs: prices, the amounts used, and the bill from both."""

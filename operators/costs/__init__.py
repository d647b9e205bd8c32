"""The cost of a deployment: prices, the amounts used, and the bill from both."""

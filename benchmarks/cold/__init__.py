"""The cost of a cold start for each function, measured on a copy of the deployed code."""

"""What a cold start costs each function, measured on a copy of what is deployed."""

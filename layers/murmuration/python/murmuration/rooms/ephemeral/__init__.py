"""What is said of a room beside its events: receipts and typing notifications."""

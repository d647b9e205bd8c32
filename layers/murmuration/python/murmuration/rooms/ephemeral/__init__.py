"""Receipts and typing notifications of rooms."""

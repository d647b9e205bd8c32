"""Simplified sliding sync (MSC4186): what requests ask for, in both forms that clients speak."""

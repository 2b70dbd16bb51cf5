"""Delivers signed webhooks when a report job ends."""

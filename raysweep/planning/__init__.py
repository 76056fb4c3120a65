"""Estimates what a sweep will cost, and chooses what a budget affords."""

"""What a sweep will cost, and what a budget affords."""

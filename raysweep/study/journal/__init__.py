"""What happened in a study: events, the log that keeps them, and what is folded from them."""

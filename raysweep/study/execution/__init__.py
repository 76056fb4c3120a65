"""A study at work: handing out trials, carrying out decisions, stopping, resuming, extending."""

"""Runs work on machines and clusters."""

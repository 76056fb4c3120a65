"""Writes sweep files (a first one, converted ones), and the published schema with its page."""

"""Writing sweep files: a first file, a converted one, the published schema and its page."""

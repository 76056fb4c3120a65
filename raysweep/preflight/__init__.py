"""Argued with before a GPU is spent: advice on a sweep, its file's schema, a first file to start from."""

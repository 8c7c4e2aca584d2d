"""A results folder: its files, their schema, their digests, and where they came from."""

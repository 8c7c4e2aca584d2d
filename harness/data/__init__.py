"""Training data: one canonical record per kind, and the way from files to records."""

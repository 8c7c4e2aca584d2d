"""Results that others measured, read into a results folder of ours: one reader per file."""

"""Test items redrawn with other numbers, names and structures."""

"""Function calls in answers, read without executing anything, and matched against accepted arguments."""

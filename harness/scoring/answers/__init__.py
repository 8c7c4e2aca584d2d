"""Final answers and numbers found in free text, and verified."""

"""Extraction and verification of final answers and numbers in free text."""

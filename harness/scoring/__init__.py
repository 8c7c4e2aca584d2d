"""Judging an answer: right, wrong, and in which way."""

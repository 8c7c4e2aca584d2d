"""Measures of diversity: similarities, Vendi scores, classes, known answers."""

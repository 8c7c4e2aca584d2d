"""The results folder as tables of statistics."""

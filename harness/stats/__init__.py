"""The statistics of the comparison, numpy and scipy only; docs/statistics.md is their specification."""

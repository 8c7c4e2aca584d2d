"""Statistics of the comparison; numpy and scipy only."""

"""Function calls read from answers and matched against accepted ones."""

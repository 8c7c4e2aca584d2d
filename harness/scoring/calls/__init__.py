"""Function calls: read from answers, compared with right ones, and BFCL's items."""

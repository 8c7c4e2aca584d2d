"""One file per section of the report: statistics in, text and tables out."""

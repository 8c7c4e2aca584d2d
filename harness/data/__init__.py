"""From a file to records: readers, formats and training sets by name."""

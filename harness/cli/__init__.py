"""The command line: verbs, their options, and the text they print."""

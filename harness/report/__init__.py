"""Results folder -> report: `collect` (numbers), `compose` (document), `render` (text)."""

"""Documents as HTML, Markdown, LaTeX and pictures."""

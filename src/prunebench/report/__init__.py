"""The report of a run: one self-contained HTML file and the same as Markdown."""

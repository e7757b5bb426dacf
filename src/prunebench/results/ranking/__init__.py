"""From measured figures to ranks, ties, comparisons and advice; no file is read or written here."""

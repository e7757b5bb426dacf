"""Every text that people read about a result, in one catalogue per language, and its renderer."""

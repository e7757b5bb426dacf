"""Results as a terminal shows them; nothing is computed here."""

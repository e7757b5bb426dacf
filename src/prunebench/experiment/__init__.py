"""One experiment from its configuration to its ranked run: checked, planned, made, measured."""

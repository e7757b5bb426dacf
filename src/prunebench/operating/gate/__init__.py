"""May this change be merged: runs compared, a decision, a second measurement to confirm it."""

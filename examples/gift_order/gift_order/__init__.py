"""Orders that are gifts, with a note for whoever gets them."""

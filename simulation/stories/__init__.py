"""Stories of an order's life: what is ordered and done, and what must have come of it wherever it is told."""

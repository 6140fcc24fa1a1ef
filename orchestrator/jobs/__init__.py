"""Actions on many dead letters at once, as jobs that outlive whoever runs them (D5)."""

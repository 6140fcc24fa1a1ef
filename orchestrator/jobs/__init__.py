"""Actions on many dead letters or sagas at once, as jobs that outlive whoever runs them (D5)."""

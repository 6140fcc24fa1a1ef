"""The history of what every participant of the kit has in its schema."""

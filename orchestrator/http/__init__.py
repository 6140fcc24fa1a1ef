"""The orchestrator's HTTP face: orders for customers, sagas and dead letters for operators."""

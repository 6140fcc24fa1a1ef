"""The orchestrator: one persisted state machine per order, and everything that feeds it."""

"""The orchestrator: one persisted state machine per saga, and everything that feeds it."""

"""Stripe as the payment gateway of the OMS saga orchestrator."""

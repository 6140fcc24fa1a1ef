"""Conformance: plays the orchestrator against a running participant, or a participant against a provider.

Everything is judged by what can be seen from outside: messages for a participant, answers for a provider.
"""

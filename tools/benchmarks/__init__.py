"""Measures this project beside its peers. Run by `oms bench`; nothing that is shipped imports it."""

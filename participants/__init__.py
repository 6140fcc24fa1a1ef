"""The services that do a saga's work: inventory, payment and shipping, and the providers they call."""

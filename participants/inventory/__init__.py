"""Inventory: holds stock for orders, gives it back, and reduces it once the parcel has left."""

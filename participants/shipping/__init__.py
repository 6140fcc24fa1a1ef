"""The Order Fulfillment Service: hands an order's parcel to a carrier, once."""

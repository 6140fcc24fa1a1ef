"""The Payment Service: takes an order's money through a payment gateway, once, and gives it back."""

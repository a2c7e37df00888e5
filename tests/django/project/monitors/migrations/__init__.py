"""Tables of the monitors."""

"""Tables, indexes, types and triggers of the first release."""

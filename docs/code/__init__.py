"""Programs that the documentation shows in parts; tests/docs runs them."""

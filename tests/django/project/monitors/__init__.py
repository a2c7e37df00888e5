"""What is watched, over an API with keys."""

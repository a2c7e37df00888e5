"""Projects and their checks, with an API that is authenticated by keys."""

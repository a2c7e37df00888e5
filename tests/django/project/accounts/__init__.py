"""Login by e-mail address."""

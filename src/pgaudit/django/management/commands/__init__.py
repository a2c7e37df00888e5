"""``python manage.py pgaudit``."""

"""The Django application: ``INSTALLED_APPS = [..., "pgaudit.django"]``.

``audit`` is the :class:`~pgaudit.AuditLog` of the project's database. Django's ``migrate`` creates the schema, also in
test databases; ``python manage.py pgaudit`` is the command line; the model ``pgaudit.django.models.AuditEntry`` reads
the log. The Django setting ``PGAUDIT`` is optional:

=================  ==========================================================================================
``ALIAS``          the database of ``DATABASES`` that has the audit log; ``"default"``
``READ_ALIAS``     the database through which ``AuditEntry`` reads, such as one with a reader's role; ``ALIAS``
``MIGRATE``        False: ``migrate`` leaves the schema alone, because its owner runs ``pgaudit migrate``
``LOGINS``         True: logins, logouts and failed logins are events
``PERMISSIONS``    True: changes of a user's groups and of the permissions of users and groups are events
``ATOMIC_SAVES``   True: ``Model.save`` opens a transaction, so that receivers of ``post_save`` may record
``IDENTIFY``       True: statements that write tell capture triggers what is bound: the actor, tenant and context
``ADMIN``          False: Django's admin has no list of audit events
``ACCESS``         the dotted path of a :class:`~pgaudit.django.access.DjangoAccess` that limits what users see
any other          a setting of pgaudit without its prefix: ``{"MODE": "inline"}``; wins over the environment
=================  ==========================================================================================

To record an event::

    with transaction.atomic():
        claim.save()
        audit.record(connection, AuditEvent(action="claim.saved", target=f"claim:{claim.pk}"))
"""

from pgaudit.django.audit_log import audit
from pgaudit.django.changes import changes_of
from pgaudit.django.tracking import track

__all__ = ["audit", "changes_of", "track"]

"""The project's own tests, some of which check its events. test_project.py runs them in each mode."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import TestCase, TransactionTestCase, override_settings

from pgaudit.testing import recording
from tests.django.project.monitors.models import Check, Project


class Signing(TestCase):  # type: ignore[misc]  # Django ships no types
    """Tests of the login."""

    def setUp(self) -> None:
        self.user = User.objects.create_user("ada", "ada@example.org", "secret")

    def sign_in(self, password: str) -> Any:
        """Returns the response to a login with that password."""
        return self.client.post("/sign-in", {"email": "ada@example.org", "password": password})

    def test_the_events_of_a_login_name_the_user(self) -> None:
        """Login, logout and the event of the view have the user as actor, though the request began without one."""
        with recording() as events:
            assert self.sign_in("secret").status_code == 200
            self.client.post("/sign-out")
        expected = ["user.logged_in", "device.noticed", "user.logged_out"]
        assert [(event.action, str(event.actor)) for event in events] == [
            (action, f"user:{self.user.pk}") for action in expected
        ]

    def test_a_refused_login_is_recorded(self) -> None:
        """Each failed login is an event, also with a name that no event could hold; the response stays 403."""
        with recording() as events:
            for _ in range(2):
                assert self.sign_in("wrong").status_code == 403
            assert self.client.post("/sign-in", {"email": "\x1bnobody", "password": "x"}).status_code == 403
        assert [(event.action, event.outcome) for event in events] == [("user.login_failed", "denied")] * 3

    def test_a_refused_login_has_an_actor_where_each_event_needs_one(self) -> None:
        """A wrong password is no error of the server."""
        with override_settings(PGAUDIT={"REQUIRE": "actor,target"}), recording() as events:
            assert self.sign_in("wrong").status_code == 403
        assert [(event.action, str(event.actor)) for event in events] == [("user.login_failed", "user:unknown")]

    def test_a_page_that_records_nothing_is_cacheable(self) -> None:
        """For a logged-in user, the middleware adds no query and no ``Vary`` header to a page that records nothing."""
        self.sign_in("secret")
        with self.assertNumQueries(0):
            assert "Vary" not in self.client.get("/about").headers

    def test_saving_costs_no_further_query(self) -> None:
        """ATOMIC_SAVES adds no query to saving a model without a receiver."""
        with self.assertNumQueries(1):
            Project.objects.create(name="a", api_key="a")

    async def test_an_asynchronous_view_with_a_synchronous_backend_has_an_actor(self) -> None:
        """The user is found through a backend that has no ``aget_user``."""
        await self.async_client.aforce_login(self.user)
        with recording() as events:
            assert (await self.async_client.get("/profile")).status_code == 200
        assert str(events[-1].actor) == f"user:{self.user.pk}"

    def test_changes_of_groups_are_recorded(self) -> None:
        """A change through either end of the relation is one event about the user; a change without effect is none."""
        clerks = Group.objects.create(name="clerks")
        with recording() as events:
            self.user.groups.add(clerks)
            self.user.groups.add(clerks)
            clerks.user_set.remove(self.user)
            self.user.groups.set([clerks])
            clerks.user_set.clear()
        assert [(event.action, str(event.targets[0]), event.data) for event in events] == [
            (f"user.groups.{verb}", f"user:{self.user.pk}", {"groups": [clerks.pk]})
            for verb in ("added", "removed", "added", "removed")
        ]


class Api(TestCase):  # type: ignore[misc]
    """Tests of the API."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.project = Project.objects.create(name="p", api_key="k")
        cls.check = Check.objects.create(project=cls.project, name="c")

    def post(self, path: str, **data: str) -> Any:
        """Returns the response to a request with the project's key."""
        return self.client.post(f"/api/checks{path}", data, headers={"X-Api-Key": "k"})

    def test_each_change_names_the_project_of_the_key(self) -> None:
        """The actor is the project that the view finds by its key; a change without effect is no event."""
        with recording() as events:
            pk = self.post("", name="new").json()["id"]
            assert [self.post(f"/{pk}/pause").json()["changed"] for _ in range(2)] == [1, 0]
            assert self.post(f"/{pk}/delete").status_code == 204
        assert {str(event.actor) for event in events} == {f"project:{self.project.pk}"}
        assert [event.action for event in events] == ["check.created", "check.paused", "check.deleted"]

    def test_a_wrong_key_is_refused(self) -> None:
        """A request without a key gets 401."""
        assert self.client.post("/api/checks", {"name": "x"}).status_code == 401

    def test_a_command_names_itself(self) -> None:
        """The events of a command have the actor that the command binds."""
        Check.objects.update(paused=True)
        with recording() as events:
            call_command("prune")
        assert [(event.action, str(event.actor)) for event in events] == [("check.deleted", "service:prune")]

    def test_an_error_of_the_database_leaves_the_test_usable(self) -> None:
        """After an IntegrityError in an inner ``atomic`` block, the test can go on."""
        with pytest.raises(IntegrityError), transaction.atomic():
            Project.objects.create(name="q", api_key="k")
        assert Project.objects.count() == 1


class Committing(TransactionTestCase):  # type: ignore[misc]
    """Tests that commit, after which Django empties all tables."""

    def test_a_check_is_saved(self) -> None:
        """A row whose receiver records an event is saved."""
        Check.objects.create(project=Project.objects.create(name="p", api_key="k"), name="c")
        assert Check.objects.count() == 1

"""Tests of track and changes_of. tests/django/test_tracking.py runs them by name."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.state import ProjectState
from django.db.models import F
from django.test import TestCase, TransactionTestCase, override_settings

from pgaudit import AuditEvent, InvalidEvent, NotInTransaction, UntrackedChange, bind
from pgaudit.django import audit, changes_of, track
from pgaudit.django.operations import AddCapture, AddGuard
from pgaudit.guard import captures, guards
from pgaudit.testing import recording
from pgaudit.testing.trail import events_of
from tests.django.project.cases.approving import rename
from tests.django.project.cases.models import Claim, Holder, Instalment, OldClaim, Payment, Tag, UrgentClaim

CREATED: dict[str, tuple[object, ...]] = {"status": ("open",), "changed": (0,), "scan": ("",)}


def sides(changes: Any) -> dict[str, tuple[object, ...]]:
    """Returns before and after by path, as far as they are given."""
    return {
        change.path: tuple(getattr(change, side) for side in ("before", "after") if side in change.model_fields_set)
        for change in changes
    }


def told(events: list[AuditEvent]) -> list[tuple[str, dict[str, tuple[object, ...]]]]:
    """Returns action, target and changes of events."""
    return [(f"{event.action} {event.targets[0]}", sides(event.changes)) for event in events]


def capture(table: str, target: str, key: str = "{id}") -> None:
    """Captures a table, as its owner does."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a test may have changed its rows
        cursor.execute("SELECT pgaudit.add_capture(%s::text::regclass, %s, %s)", [table, target, key])


def stored() -> list[str]:
    """Returns action and target of the events that are in the database."""
    events = [event for event in events_of(connection) if event.action.partition(".")[0] not in {"audit", "project"}]
    return [f"{event.action} {event.targets[0]}" for event in events]


class Tracked(TestCase):  # type: ignore[misc]  # Django ships no types
    """What save and delete record."""

    def test_save_and_delete_are_recorded(self) -> None:
        """Created with what it has, updated with what differs, deleted with what it had; with who has done it."""
        with recording() as events, bind(actor="user:42"):
            claim = Claim.objects.create(amount=Decimal("1.5"), email="a@example.org")
            pk = claim.pk
            claim.status, claim.email = "paid", None
            claim.save()
            claim.save()
            claim.status = "renamed"
            claim.delete()
        assert told(events) == [
            (f"claim.created claim:{pk}", CREATED | {"id": (pk,), "amount": ("1.50",), "email": ("***",)}),
            (f"claim.updated claim:{pk}", {"status": ("open", "paid"), "email": ("***", "***")}),
            (
                f"claim.deleted claim:{pk}",
                {"id": (pk,), "status": ("paid",), "amount": ("1.50",), "changed": (0,), "scan": ("",)},
            ),
        ]
        assert {str(event.actor) for event in events} == {"user:42"}

    def test_each_type_of_field_is_recorded_as_the_row_has_it(self) -> None:
        """Also values that were given as text, which the instance keeps until it is read again."""
        values: dict[str, Any] = {
            "amount": "2.505",
            "due": "2026-01-02",
            "took": timedelta(minutes=1),
            "noted": datetime(2026, 1, 2, tzinfo=UTC),
            "reference": "00000000000000000000000000000001",
            "doc": {"n": [1, None]},
            "labels": ["a"],
            "scan": "scans/1.png",
            "raw": b"\x01\xff",
        }
        expected = {
            "amount": "2.51",
            "due": "2026-01-02",
            "took": "PT1M",
            "noted": "2026-01-02T00:00:00+00:00",
            "reference": str(UUID(int=1)),
            "doc": {"n": [1, None]},
            "labels": ["a"],
            "scan": "scans/1.png",
            "raw": "\\x01ff",
        }
        with recording() as events:
            claim = Claim.objects.create(**values)
            claim.save()
            pk = claim.pk
            Claim.objects.get(pk=pk).delete()
        created, deleted = told(events)
        assert created[1] == CREATED | {"id": (pk,)} | {name: (value,) for name, value in expected.items()}
        assert deleted == (f"claim.deleted claim:{pk}", created[1])

    def test_the_value_before_is_what_the_row_has(self) -> None:
        """Not what the instance was loaded with: what a save puts back is a change, too."""
        claim = Claim.objects.create(amount=1)
        stale = Claim.objects.get(pk=claim.pk)
        claim.amount = 2
        claim.save()
        stale.status = "paid"
        with recording() as events:
            stale.save()
        assert told(events)[0][1] == {"status": ("open", "paid"), "amount": ("2.00", "1.00")}

    def test_after_a_savepoint_that_is_rolled_back_the_value_before_is_right(self) -> None:
        """The instance in memory still has what was rolled back."""
        claim = Claim.objects.create()
        with suppress(ZeroDivisionError), transaction.atomic():
            claim.status = "paid"
            claim.save()
            raise ZeroDivisionError
        with recording() as events:
            claim.changed = 1
            claim.save()
        assert told(events)[0][1] == {"status": ("open", "paid"), "changed": (0, 1)}

    def test_update_fields_and_deferred_fields_limit_the_change(self) -> None:
        """What was not written is no change."""
        pk = Claim.objects.create(amount=1).pk
        with recording() as events:
            claim = Claim.objects.get(pk=pk)
            claim.status, claim.amount = "paid", 2
            claim.save(update_fields=["status"])
            claim = Claim.objects.only("changed").get(pk=pk)
            claim.changed = 1
            claim.save()
            claim = Claim.objects.defer("amount").get(pk=pk)
            claim.delete()
        assert told(events)[:2] == [
            (f"claim.updated claim:{pk}", {"status": ("open", "paid")}),
            (f"claim.updated claim:{pk}", {"changed": (0, 1)}),
        ]
        assert told(events)[2][1]["amount"] == ("1.00",)

    def test_an_expression_is_recorded_as_its_value(self) -> None:
        """Read back from the database, as a second save of the same expression is."""
        claim = Claim.objects.create(amount=1)
        claim.amount = F("amount") + 1
        with recording() as events:
            claim.save()
        assert told(events)[0][1] == {"amount": ("1.00", "2.00")}

    def test_copies_and_pickles_are_instances_like_others(self) -> None:
        """Nothing is remembered in them."""
        claim = Claim.objects.create()
        with recording() as events:
            for instance in (copy.copy(claim), copy.deepcopy(claim), pickle.loads(pickle.dumps(claim))):
                instance.changed = claim.changed = claim.changed + 1
                instance.save()
            claim.refresh_from_db()
            claim.save()
            claim.pk, claim._state.adding = None, True  # noqa: SLF001 - as Django documents it
            claim.save()
        assert [change for _, change in told(events)[:3]] == [{"changed": (n, n + 1)} for n in range(3)]
        assert told(events)[3] == (f"claim.created claim:{claim.pk}", CREATED | {"id": (claim.pk,), "changed": (3,)})

    def test_a_key_that_is_given_is_looked_for(self) -> None:
        """A save with a key updates a row or inserts one."""
        with recording() as events:
            Claim(pk=7).save()
            Claim(pk=7, status="paid").save()
            payment = Payment.objects.create(amount=1, note="not recorded")
            payment.note = "nor is this"
            payment.save()
        assert [event for event, _ in told(events)] == [
            "claim.created claim:7",
            "claim.updated claim:7",
            f"payment.created payment:{payment.pk}",
        ]
        assert told(events)[2][1] == {"amount": (1,)}

    def test_a_key_of_several_fields_is_joined(self) -> None:
        """With commas, as capture joins its columns."""
        track(audit, Instalment, target="instalment")
        payment = Payment.objects.create(amount=3)
        target, key = f"instalment:{payment.pk},1", {"payment_id": (str(payment.pk),), "number": (1,)}
        with recording() as events:
            instalment = Instalment.objects.create(payment=payment, number=1, amount=2)
            instalment.amount = 3
            assert sides(changes_of(instalment)) == {"amount": (2, 3)}
            instalment.save()
            Instalment.objects.filter(pk=(payment.pk, 1)).delete()
        assert told(events) == [
            (f"instalment.created {target}", key | {"amount": (2,)}),
            (f"instalment.updated {target}", {"amount": (2, 3)}),
            (f"instalment.deleted {target}", key | {"amount": (3,)}),
        ]
        with pytest.raises(UntrackedChange):
            Instalment.objects.bulk_create([Instalment(payment=payment, number=2, amount=1)])

    def test_a_key_of_several_fields_is_captured_and_guarded(self) -> None:
        """The operations of migrations take the columns of its fields."""
        state = ProjectState.from_apps(apps)
        for operation in (AddCapture("Instalment", "instalment"), AddGuard("Instalment", "instalment", key="pk")):
            with connection.schema_editor() as editor:
                operation.database_forwards("cases", editor, None, state)
        (capture,), (guard,) = captures.listed(connection), guards.listed(connection)
        assert capture.key == guard.key == ["payment_id", "Number"]

    def test_proxies_and_children_count(self) -> None:
        """A child with the fields of the tracked model; each deletion once."""
        with recording() as events:
            OldClaim.objects.create()
            urgent = UrgentClaim.objects.create(hours=3)
            urgent.hours, urgent.status = 4, "paid"
            urgent.save()
            OldClaim.objects.exclude(pk=urgent.pk).delete()
            pk = urgent.pk
            urgent.delete()
        actions = [event.action.partition(".")[2] for event in events]
        assert actions == ["created", "created", "updated", "deleted", "deleted"]
        assert told(events)[2] == (f"claim.updated claim:{pk}", {"status": ("open", "paid")})
        assert str(events[4].targets[0]) == f"claim:{pk}"

    def test_each_instance_of_a_queryset_is_deleted_with_an_event(self) -> None:
        """As are those that a deletion cascades to."""
        claims = [Claim.objects.create() for _ in range(2)]
        payment = Payment.objects.create(amount=1, claim=claims[0])
        with recording() as events:
            Claim.objects.all().delete()
        assert sorted(event for event, _ in told(events)) == [
            *(f"claim.deleted claim:{claim.pk}" for claim in claims),
            f"payment.deleted payment:{payment.pk}",
        ]

    def test_relations_are_recorded(self) -> None:
        """As changes of the claim, from either end, with the keys that are really added and removed."""
        claim, tags = Claim.objects.create(), [Tag.objects.create(name=str(n)) for n in range(3)]
        keys = [tag.pk for tag in tags]
        with recording() as events:
            claim.tags.add(*tags[:2])
            claim.tags.add(*tags[:2])
            claim.tags.remove(tags[0], tags[2])
            tags[2].claims.add(claim)
            claim.tags.set(tags[:1])
            tags[0].claims.clear()
            claim.tags.add(tags[1])
            tags[1].delete()
        assert {event for event, _ in told(events)} == {f"claim.updated claim:{claim.pk}"}
        assert [change for _, change in told(events)] == [
            {"tags.added": (keys[:2],)},
            {"tags.removed": (keys[:1],)},
            {"tags.added": (keys[2:],)},
            {"tags.removed": (keys[1:],)},
            {"tags.added": (keys[:1],)},
            {"tags.removed": (keys[:1],)},
            {"tags.added": (keys[1:2],)},
            {"tags.removed": (keys[1:2],)},
        ]

    def test_a_relation_to_the_same_model_is_recorded(self) -> None:
        """A symmetrical one at the end that it was changed at; a deletion at the other end."""
        one, two = Claim.objects.create(), Claim.objects.create()
        with recording() as events:
            one.related.add(two)
            gone, other = two.pk, one.pk
            two.delete()
        assert told(events)[0][1] == {"related.added": ([gone],)}
        assert (f"claim.updated claim:{other}", {"related.removed": ([gone],)}) in told(events)
        assert f"claim.deleted claim:{gone}" in [event for event, _ in told(events)]

    def test_statements_without_instances_are_refused(self) -> None:
        """Each kind, with a sentence that says what to do; where the table is captured, it goes on."""
        claim, tag = Claim.objects.create(holder=Holder.objects.create(name="a")), Tag.objects.create(name="t")
        through = Claim.tags.through
        refused: dict[str, tuple[Any, ...]] = {
            "cases_claim": (
                lambda: Claim.objects.update(status="x"),
                lambda: Claim.objects.filter(tags=tag).update(status="x"),
                lambda: UrgentClaim.objects.update(status="x"),
                lambda: Claim.objects.bulk_create([Claim()]),
                lambda: Claim.objects.bulk_create(
                    [Claim(pk=claim.pk)], update_conflicts=True, update_fields=["status"], unique_fields=["id"]
                ),
                lambda: Claim.objects.bulk_update([claim], ["status"]),
                lambda: Claim.objects.all()._raw_delete("default"),  # noqa: SLF001 - what applications call
                lambda: Holder.objects.all().delete(),
            ),
            "cases_claim_tags": (
                lambda: through.objects.bulk_create([through(claim=claim, tag=tag)]),
                lambda: through.objects.all().delete(),
                lambda: through(claim=claim, tag=tag).save(),
            ),
        }
        for table, attempts in refused.items():
            message = rf"without an event for each instance: Claim is tracked .*pgaudit capture add {table} …"
            for attempt in attempts:
                with transaction.atomic(), pytest.raises(UntrackedChange, match=message):
                    attempt()
        assert list(Claim.objects.values_list("status", "holder__name", "tags")) == [("open", "a", None)]
        UrgentClaim.objects.create(hours=1)
        UrgentClaim.objects.update(hours=2)
        capture("cases_claim", "claim")
        capture("cases_claim_tags", "claim_tag")
        for attempts in refused.values():
            for attempt in attempts:
                with suppress(IntegrityError), transaction.atomic():
                    attempt()

    def test_a_failed_save_does_not_hide_a_statement(self) -> None:
        """After an error, statements are looked at again."""
        Claim.objects.create(pk=7)
        with pytest.raises(IntegrityError), transaction.atomic():
            Claim.objects.create(pk=7)
        claim, tag = Claim.objects.get(pk=7), Tag.objects.create(name="t")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            claim.tags.add(tag)
            raise ZeroDivisionError
        attempts: tuple[Any, ...] = (
            lambda: Claim.objects.update(status="x"),
            lambda: Claim.tags.through.objects.bulk_create([Claim.tags.through(claim=claim, tag=tag)]),
        )
        for attempt in attempts:
            with pytest.raises(UntrackedChange), transaction.atomic():
                attempt()

    def test_models_of_migrations_are_tracked(self) -> None:
        """What a migration saves is recorded, its other statements are refused."""
        loader: Any = import_module("django.db.migrations.loader")
        old = loader.MigrationLoader(connection).project_state().apps.get_model("cases", "Claim")
        with recording() as events:
            claim = old.objects.create()
            claim.status = "paid"
            claim.save()
        assert told(events)[1] == (f"claim.updated claim:{claim.pk}", {"status": ("open", "paid")})
        for attempt in (claim.delete, old.objects.all().delete, lambda: old.objects.update(status="x")):
            with pytest.raises(UntrackedChange), transaction.atomic():
                attempt()

    def test_fixtures_are_recorded(self) -> None:
        """``loaddata`` sends signals, for each table of a child model apart."""
        rows = [
            {"model": "cases.claim", "pk": 7, "fields": {"status": "open"}},
            {"model": "cases.urgentclaim", "pk": 7, "fields": {"hours": 3}},
        ]
        with TemporaryDirectory() as directory, recording() as events:
            path = Path(directory, "claims.json")
            path.write_text(json.dumps(rows))
            call_command("loaddata", str(path), verbosity=0)
        assert told(events) == [("claim.created claim:7", CREATED | {"id": (7,)})]

    def test_mode_off_refuses_nothing(self) -> None:
        """There, nothing would have been recorded; the settings of a test count."""
        with override_settings(PGAUDIT={"MODE": "off"}):
            Claim.objects.bulk_create([Claim()])
            Claim.objects.update(status="x")

    def test_what_cannot_be_tracked_is_refused(self) -> None:
        """No model, no such field, a name that no action can begin with."""
        with pytest.raises(InvalidEvent, match="is not a model"):
            track(audit, str, target="text")
        with pytest.raises(InvalidEvent, match="Claim has no field statsu; it has amount"):
            track(audit, Claim, target="claim", fields=["statsu"])
        with pytest.raises(InvalidEvent, match="is not of the form"):
            track(audit, Claim, target="Claim")


class Told(TestCase):  # type: ignore[misc]
    """What changes_of returns."""

    def test_the_changes_of_the_next_save_are_told(self) -> None:
        """Of a new instance its values; of another what differs from the row, whatever it was loaded with."""
        claim = Claim(amount="1.5", due=date(2026, 1, 2), email="a")
        assert sides(changes_of(claim, mask=["email"])) == CREATED | {
            "amount": ("1.50",),
            "due": ("2026-01-02",),
            "email": ("***",),
        }
        claim.save()
        stale = Claim.objects.only("status").get(pk=claim.pk)
        claim.amount = 2
        claim.save()
        stale.status = "paid"
        assert sides(changes_of(stale)) == {"status": ("open", "paid")}
        stale.holder = Holder.objects.create(name="a")
        assert sides(changes_of(stale, fields=["holder"])) == {"holder_id": (None, stale.holder_id)}
        assert sides(changes_of(stale, deleted=True))["amount"] == ("2.00",)

    def test_an_event_of_the_projects_own_has_them(self) -> None:
        """As the documentation shows it."""
        holder = Holder.objects.create(name="a")
        with recording() as events:
            rename(holder.pk, "b")
        assert told(events) == [(f"holder.renamed holder:{holder.pk}", {"name": ("a", "b")})]

    def test_what_cannot_be_told_is_refused(self) -> None:
        """An expression, a wrong name, and what is no instance."""
        claim = Claim.objects.create(amount=1)
        claim.amount = F("amount") + 1
        with pytest.raises(UntrackedChange, match="the database will compute amount of Claim"):
            changes_of(claim)
        assert sides(changes_of(claim, fields=["status"])) == {}
        with pytest.raises(InvalidEvent, match="Claim has no field stauts"):
            changes_of(claim, fields=["stauts"])
        with pytest.raises(InvalidEvent, match="str is not an instance"):
            changes_of("claim")


class Committed(TransactionTestCase):  # type: ignore[misc]
    """What is in the database."""

    def setUp(self) -> None:
        self.earlier = len(stored())
        self.everything = len(events_of(connection))

    def stored(self) -> list[str]:
        """Returns action and target of the events that the test has recorded."""
        return stored()[self.earlier :]

    def test_a_row_and_its_event_are_committed_together(self) -> None:
        """With ATOMIC_SAVES, without a transaction of the project's own."""
        Claim.objects.create(pk=7)
        assert self.stored() == ["claim.created claim:7"]

    def test_outside_of_a_transaction_nothing_is_saved(self) -> None:
        """Without ATOMIC_SAVES, a save is refused before its row is written; a deletion has a transaction anyway."""
        claim = Claim.objects.create(pk=7)
        with override_settings(PGAUDIT={"ALIAS": "other"}), pytest.raises(NotInTransaction):
            Claim(pk=8).save()
        assert Claim.objects.count() == 1
        claim.delete()
        assert self.stored() == ["claim.created claim:7", "claim.deleted claim:7"]

    def test_the_value_before_is_that_of_the_transaction_before(self) -> None:
        """Two that save at the same time wait for one another: the changes are a chain without a gap."""
        Claim.objects.create(pk=7)

        def count_up() -> None:
            try:
                for _ in range(20):
                    with transaction.atomic():
                        claim = Claim.objects.get(pk=7)
                        claim.changed = claim.changed * 2 + 1 if claim.changed < 1000 else 0
                        claim.save()
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as threads:
            for future in [threads.submit(count_up) for _ in range(4)]:
                future.result()
        chain = [change for event in events_of(connection)[self.everything :] for change in event.changes][1:]
        values = [
            (change.before, change.after) for change in chain if change.path == "changed" and change.before is not None
        ]
        assert len(values) > 20
        assert all(earlier[1] == later[0] for earlier, later in pairwise(values))

    def test_with_capture_a_change_is_recorded_once(self) -> None:
        """By the trigger; relations, too."""
        capture("cases_claim", "claim")
        capture("cases_claim_tags", "claim_tag", "{claim_id,tag_id}")
        try:
            claim, tag = Claim.objects.create(pk=7), Tag.objects.create(pk=1)
            claim.tags.add(tag)
            UrgentClaim(claim_ptr=claim, hours=1).save_base(raw=True)
            claim.delete()
            Claim.objects.bulk_create([Claim(pk=8)])
            assert self.stored() == [
                "claim.created claim:7",
                "claim_tag.created claim_tag:7,1",
                "claim_tag.deleted claim_tag:7,1",
                "claim.deleted claim:7",
                "claim.created claim:8",
            ]
        finally:
            for table in ("cases_claim", "cases_claim_tags"):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pgaudit.remove_capture(%s::text::regclass)", [table])

    def test_a_rollback_leaves_no_event(self) -> None:
        """Of the transaction, or to a savepoint."""
        with transaction.atomic():
            claim = Claim.objects.create(pk=7)
            with suppress(ZeroDivisionError), transaction.atomic():
                claim.status = "paid"
                claim.save()
                raise ZeroDivisionError
        with suppress(ZeroDivisionError), transaction.atomic():
            claim.delete()
            raise ZeroDivisionError
        assert self.stored() == ["claim.created claim:7"]

"""Claims over HTTP: Flask, psycopg's connection pool, signals that become events, and the worker in a thread.

Run it in a clone, against the Postgres that ``embedded:data`` starts in the directory ``data``::

    pip install ".[all]" flask
    export PGAUDIT_DSN=embedded:data
    pgaudit migrate
    flask --app examples/flask_psycopg/app.py run

    curl -H "X-User: ada" --json '{"holder": "Ada", "amount": "250.00"}' localhost:5000/claims
    curl -H "X-User: bob" -X POST localhost:5000/claims/1/approve
"""

from decimal import Decimal
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Blueprint, Flask, abort, request
from psycopg_pool import ConnectionPool

from pgaudit import AuditLog, worker
from pgaudit.claims import ClaimAuditListener, claim_approved, claim_submitted
from pgaudit.middleware import WsgiMiddleware

CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS claims (
        id     bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        holder text           NOT NULL,
        amount numeric(12, 2) NOT NULL,
        status text           NOT NULL
    )
"""
SUBMIT = "INSERT INTO claims (holder, amount, status) VALUES (%s, %s, 'submitted') RETURNING id"
APPROVE = "UPDATE claims SET status = 'approved' WHERE id = %s AND status = 'submitted' RETURNING amount"

audit = AuditLog()  # settings from PGAUDIT_*; no I/O until it is used
pool = ConnectionPool(audit.settings.conninfo, max_size=10, open=False)
claims = Blueprint("claims", __name__, url_prefix="/claims")


def create_app() -> Flask:
    """The application; ``flask run`` and WSGI servers call it in each of their processes."""
    pool.open()
    with pool.connection() as conn:
        conn.execute(CREATE_TABLE)
    ClaimAuditListener(audit)  # from now on, each of the claim signals is an event
    worker.start_in_thread()
    app = Flask(__name__)
    app.register_blueprint(claims)
    app.wsgi_app = WsgiMiddleware(app.wsgi_app, actor)  # type: ignore[method-assign]  # as Flask's manual does it
    return app


def actor(environ: WSGIEnvironment) -> str | None:
    """Who is asking. A header is anybody's word: your authentication takes its place."""
    user = environ.get("HTTP_X_USER")
    return f"user:{user}" if user else None


@claims.post("")
def submit() -> tuple[dict[str, Any], int]:
    """Submits a claim."""
    new = request.get_json()
    amount = Decimal(new["amount"])
    with pool.connection() as conn:  # one transaction, committed at the end of the block
        (claim_id,) = conn.execute(SUBMIT, [new["holder"], amount]).fetchone() or (0,)
        claim_submitted.send(conn=conn, claim_id=claim_id, amount=amount)
    return {"id": claim_id, "status": "submitted"}, 201


@claims.post("/<int:claim_id>/approve")
def approve(claim_id: int) -> dict[str, Any]:
    """Approves a claim and has it paid; when the bank declines, neither the change nor its event remains."""
    with pool.connection() as conn:
        row = conn.execute(APPROVE, [claim_id]).fetchone()
        if row is None:
            abort(404, f"no claim {claim_id} waits for an approval")
        claim_approved.send(conn=conn, claim_id=claim_id, approval_amount=row[0])
        pay(row[0])
    return {"id": claim_id, "status": "approved"}


def pay(amount: Decimal) -> None:
    """Stands for the bank."""
    if amount > 1000:
        abort(409, f"the bank declines to pay {amount}")

"""Months as chunks of a TimescaleDB hypertable, where the database has that extension: same rows, keys and guard.

A month is one day of the hypertable's one dimension, its first; so each has a table of its own, as without the
extension, and TimescaleDB makes it when the first row comes. Only what its Apache edition has is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from uuid import uuid4

import sqlalchemy as sa
import structlog

from relay.errors import StoreUnavailable

Tell = Callable[[str, int, int], None]
"""Told which table is copied, its number, and how many there are."""

log = structlog.get_logger(__name__)

BEGIN = """
LOCK TABLE scg_sessions, scg_chunks IN ACCESS EXCLUSIVE MODE;
CREATE TABLE scg_chunks_hyper (LIKE scg_chunks INCLUDING DEFAULTS INCLUDING STORAGE);
SELECT create_hypertable('scg_chunks_hyper', by_range('month', INTERVAL '1 day'), create_default_indexes => false)
"""
END = """
ALTER SEQUENCE scg_chunks_id_seq OWNED BY scg_chunks_hyper.id;
DROP TABLE scg_chunks;
DROP FUNCTION refuse_chunk_of_no_month();
ALTER TABLE scg_chunks_hyper RENAME TO scg_chunks;
ALTER TABLE scg_chunks ADD CONSTRAINT pk_scg_chunks PRIMARY KEY (id, month);
ALTER TABLE scg_chunks ADD CONSTRAINT uq_scg_chunks_session_id_boot_first_seq
    UNIQUE (session_id, boot, first_seq, month);
ALTER TABLE scg_chunks ADD CONSTRAINT fk_scg_chunks_session_id
    FOREIGN KEY (session_id, month) REFERENCES scg_sessions (id, month) ON DELETE CASCADE;
CREATE INDEX ix_scg_chunks_session_id_t_min ON scg_chunks (session_id, t_min);
CREATE INDEX ix_scg_chunks_small ON scg_chunks (session_id) WHERE samples < 3000
"""
REFUSE = """CREATE FUNCTION refuse_chunk_of_no_month() RETURNS date AS $$
BEGIN
    RAISE EXCEPTION 'a chunk without a month: this relay is older than its database' USING ERRCODE = '55000';
END;
$$ LANGUAGE plpgsql"""
REFUSED = "ALTER TABLE scg_chunks ALTER month SET DEFAULT refuse_chunk_of_no_month()"


def used(connection: sa.Connection) -> bool:
    """Whether the chunks lie in a hypertable: where they do not, their table is a partitioned one."""
    kind = connection.scalar(sa.text("SELECT relkind::text FROM pg_class WHERE oid = 'scg_chunks'::regclass"))
    return bool(kind == "r")


def may_be_used(connection: sa.Connection) -> bool:
    """Whether TimescaleDB is in this database, and no hypertable yet."""
    return connection.dialect.name == "postgresql" and _present(connection) and not used(connection)


def adopt(connection: sa.Connection) -> None:
    """Where nothing is stored yet. What is stored is copied only when somebody asks for it."""
    _run(connection, "LOCK TABLE scg_sessions, scg_chunks IN ACCESS EXCLUSIVE MODE")
    if connection.scalar(sa.text("SELECT EXISTS (SELECT FROM scg_chunks)")):
        log.info("hypertable_waits", remedy="homeside recordings hypertables")
    else:
        convert(connection, lambda *_: None)


def convert(connection: sa.Connection, tell: Tell) -> int:
    """Copy all chunks into a hypertable that takes the table's place; how many. Nobody reads or writes meanwhile.

    StoreUnavailable where the database lacks the extension. What is a hypertable already stays as it is.
    """
    if connection.dialect.name != "postgresql" or not _present(connection):
        raise StoreUnavailable(
            "this database has no TimescaleDB. Let its owner run CREATE EXTENSION timescaledb in it, then try again"
        )
    if used(connection):
        return 0
    _each(connection, BEGIN)
    parts = list(_parts(connection))
    copied = 0
    for number, part in enumerate(parts, 1):
        tell(part, number, len(parts))
        copied += _run(connection, f"INSERT INTO scg_chunks_hyper SELECT * FROM {part}")  # noqa: S608  names of ours
    _each(connection, END)
    _run(connection, REFUSE)
    _run(connection, REFUSED)
    log.info("hypertable_made", chunks=copied)
    return copied


def tables(connection: sa.Connection) -> dict[date, str]:
    """The months that have a table, the oldest first, and its name."""
    chunks = sa.text(
        "SELECT (range_start AT TIME ZONE 'UTC')::date AS month, format('%I.%I', chunk_schema, chunk_name) AS name "
        "FROM timescaledb_information.chunks "
        "WHERE hypertable_name = 'scg_chunks' AND hypertable_schema = current_schema() ORDER BY 1"
    )
    return {row.month: row.name for row in connection.execute(chunks)}


def make(connection: sa.Connection, month: date, _following: date) -> None:
    """By a row that comes and goes in this transaction: who writes the month's first row need not wait for its table.

    Making one locks scg_sessions against writers, for its foreign key; two writers at that would wait for each other.
    """
    _run(connection, "LOCK TABLE scg_sessions IN SHARE ROW EXCLUSIVE MODE")
    passing = {"id": str(uuid4()), "month": month}
    for statement in (
        "INSERT INTO scg_sessions (id, started_at_ms, month) VALUES (:id, 0, :month)",
        "INSERT INTO scg_chunks (session_id, samples, t_min, t_max, body, month) VALUES (:id, 0, 0, 0, '', :month)",
        "DELETE FROM scg_sessions WHERE id = :id",
    ):
        connection.execute(sa.text(statement), passing)
    log.info("month_made", table=tables(connection)[month])


def drop(connection: sa.Connection, month: date) -> None:
    dropped = sa.text("SELECT drop_chunks('scg_chunks', older_than => :end ::date, newer_than => :month ::date)")
    connection.execute(dropped, {"month": month, "end": month + timedelta(days=1)})


def _present(connection: sa.Connection) -> bool:
    return bool(connection.scalar(sa.text("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")))


def _parts(connection: sa.Connection) -> Iterator[str]:
    children = sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'scg_chunks'::regclass")
    yield from sorted(connection.scalars(children))


def _each(connection: sa.Connection, statements: str) -> None:
    for statement in statements.split(";\n"):
        _run(connection, statement)


def _run(connection: sa.Connection, statement: str) -> int:
    return connection.execute(sa.text(statement)).rowcount

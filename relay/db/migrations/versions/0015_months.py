"""Chunks get the month of their session: on PostgreSQL one table per month, in SQLite an unused column.

Existing chunks become the table of a month of their own, 1900-01-01, in place: its indexes are rebuilt, no sample is
copied. An older relay that still runs knows no months; what it tries to store is refused with an error after which it
tries again, so that nothing is acknowledged and nothing lost.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BEFORE = "1900-01-01"
SMALL = "samples < 3000"
LIKE = "LIKE {} INCLUDING DEFAULTS INCLUDING STORAGE"

PARTITIONED = f"""
ALTER TABLE scg_sessions ALTER month SET DEFAULT (date_trunc('month', now() AT TIME ZONE 'UTC'))::date;
ALTER TABLE scg_sessions ADD CONSTRAINT uq_scg_sessions_month_id UNIQUE (month, id);
ALTER TABLE scg_chunks ALTER month DROP DEFAULT;
ALTER TABLE scg_chunks DROP CONSTRAINT fk_scg_chunks_session_id;
ALTER TABLE scg_chunks DROP CONSTRAINT uq_scg_chunks_session_id_boot_first_seq;
ALTER TABLE scg_chunks DROP CONSTRAINT pk_scg_chunks;
ALTER TABLE scg_chunks RENAME TO scg_chunks_before;
ALTER INDEX ix_scg_chunks_session_id_t_min RENAME TO ix_scg_chunks_before_session_id_t_min;
CREATE TABLE scg_chunks ({LIKE.format("scg_chunks_before")}) PARTITION BY RANGE (month);
ALTER SEQUENCE scg_chunks_id_seq OWNED BY scg_chunks.id;
ALTER TABLE scg_chunks ADD CONSTRAINT pk_scg_chunks PRIMARY KEY (id, month);
ALTER TABLE scg_chunks ADD CONSTRAINT uq_scg_chunks_session_id_boot_first_seq
    UNIQUE (session_id, boot, first_seq, month);
ALTER TABLE scg_chunks ADD CONSTRAINT fk_scg_chunks_session_id
    FOREIGN KEY (session_id, month) REFERENCES scg_sessions (id, month) ON DELETE CASCADE;
CREATE INDEX ix_scg_chunks_session_id_t_min ON scg_chunks (session_id, t_min);
CREATE INDEX ix_scg_chunks_small ON scg_chunks (session_id) WHERE {SMALL};
ALTER TABLE scg_chunks ATTACH PARTITION scg_chunks_before FOR VALUES FROM (MINVALUE) TO ('1970-01-01');
CREATE TABLE scg_chunks_default PARTITION OF scg_chunks DEFAULT;
CREATE TRIGGER scg_chunks_of_no_month BEFORE INSERT ON scg_chunks_default
    FOR EACH ROW WHEN (NEW.month IS NULL) EXECUTE FUNCTION refuse_chunk_of_no_month()
"""
REFUSE = """CREATE FUNCTION refuse_chunk_of_no_month() RETURNS TRIGGER AS $$
BEGIN
    RAISE EXCEPTION 'a chunk without a month: this relay is older than its database' USING ERRCODE = '55000';
END;
$$ LANGUAGE plpgsql"""

WHOLE = f"""
CREATE TABLE scg_chunks_whole ({LIKE.format("scg_chunks")});
ALTER TABLE scg_chunks_whole ALTER month DROP DEFAULT;
INSERT INTO scg_chunks_whole SELECT * FROM scg_chunks ORDER BY id;
ALTER SEQUENCE scg_chunks_id_seq OWNED BY scg_chunks_whole.id;
DROP TABLE scg_chunks;
DROP FUNCTION refuse_chunk_of_no_month();
ALTER TABLE scg_chunks_whole RENAME TO scg_chunks;
ALTER TABLE scg_chunks DROP COLUMN month;
ALTER TABLE scg_chunks ADD CONSTRAINT pk_scg_chunks PRIMARY KEY (id);
ALTER TABLE scg_chunks ADD CONSTRAINT uq_scg_chunks_session_id_boot_first_seq UNIQUE (session_id, boot, first_seq);
ALTER TABLE scg_chunks ADD CONSTRAINT fk_scg_chunks_session_id
    FOREIGN KEY (session_id) REFERENCES scg_sessions (id) ON DELETE CASCADE;
CREATE INDEX ix_scg_chunks_session_id_t_min ON scg_chunks (session_id, t_min);
ALTER TABLE scg_sessions DROP COLUMN month
"""  # noqa: S608  names of this file


def upgrade() -> None:
    for table in ("scg_sessions", "scg_chunks"):
        op.add_column(table, sa.Column("month", sa.Date, nullable=False, server_default=BEFORE))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(REFUSE)
        _each(PARTITIONED)
    else:
        op.execute(f"CREATE INDEX ix_scg_chunks_small ON scg_chunks (session_id) WHERE {SMALL}")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _each(WHOLE)
        return
    op.drop_index("ix_scg_chunks_small", "scg_chunks")
    for table in ("scg_sessions", "scg_chunks"):
        op.drop_column(table, "month")


def _each(statements: str) -> None:
    for statement in statements.split(";\n"):
        op.execute(statement)

"""The tables as the document has them: PostgreSQL's own catalog of ours, against the catalog of the document's SQL."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from relay.db import physio
from relay.db.engine import database_url, migrate, open_engine
from tests.peers_postgres import Postgres

CATALOG = Path(__file__).with_name("catalog.txt")
TABLES = (
    *("users", "patients", "physiotherapists", "patient_physio_assignments", "exercise_types"),
    *("exercise_sessions", "pose_frames", "session_reviews", "access_logs"),
)
OURS_BESIDE = (
    *("ix_exercise_sessions_created_at", "ix_exercise_sessions_patient_created"),
    "ix_exercise_sessions_patient_status",
    *(f"count_exercise_sessions_{operation}" for operation in ("insert", "update", "delete")),
)
QUERY = """
WITH t AS (SELECT oid, relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
           AND relname = ANY('{TABLES}'))
SELECT 'column', relname, attname, format_type(atttypid, atttypmod), attnotnull::text,
       coalesce(pg_get_expr(adbin, adrelid), '')
  FROM t JOIN pg_attribute ON attrelid = t.oid AND attnum > 0
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL SELECT 'constraint', relname, conname, pg_get_constraintdef(c.oid), '', ''
  FROM t JOIN pg_constraint c ON conrelid = t.oid
UNION ALL SELECT 'index', relname, indexname, indexdef, '', '' FROM t JOIN pg_indexes ON tablename = relname
UNION ALL SELECT 'trigger', relname, tgname, pg_get_triggerdef(g.oid), '', ''
  FROM t JOIN pg_trigger g ON tgrelid = t.oid AND NOT tgisinternal
UNION ALL SELECT 'function', '', proname, pg_get_function_result(oid), '', '' FROM pg_proc
  WHERE proname = 'update_updated_at_column'
UNION ALL SELECT 'extension', '', extname, '', '', '' FROM pg_extension WHERE extname = 'uuid-ossp'
ORDER BY 1, 2, 3
""".replace("TABLES", ",".join(TABLES))


async def test_on_postgresql_the_catalog_is_the_documents(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database()
    engine = open_engine(database_url(url, tmp_path))
    await migrate(engine)
    await engine.dispose()
    lines = postgres.sql(QUERY, url.rsplit("/", 1)[1]).splitlines()
    ours = [line for line in lines if line.split("|")[2] not in OURS_BESIDE]
    expected = CATALOG.read_text("utf-8").splitlines()
    assert len(expected) > 120
    assert ours == expected


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_both_databases_have_every_table_and_column_that_stores_use(
    kind: str, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.database() if kind == "postgresql" else ""
    engine = open_engine(database_url(url, tmp_path))
    await migrate(engine)
    await migrate(engine)
    async with engine.connect() as connection:
        for table in physio.metadata.sorted_tables:
            await connection.execute(sa.select(table).limit(1))
        made = await connection.execute(sa.select(physio.exercise_types.c.name, physio.exercise_types.c.target_muscles))
        found = {row.name: row.target_muscles for row in made}
    await engine.dispose()
    assert found["squat"] == ["quadriceps", "gluteus maximus"]
    assert set(found) == {"squat", "squat_front", "shoulder_raise", "glute_bridge", "wall_sit"}


async def test_an_update_touches_updated_at_on_sqlite_too(tmp_path: Path) -> None:
    engine = open_engine(database_url("", tmp_path))
    await migrate(engine)
    async with engine.begin() as connection:
        row = {"email": "a@b.org", "password_hash": "x", "role": "admin"}
        await connection.execute(sa.insert(physio.users).values(**row))
        await connection.execute(sa.text("UPDATE users SET updated_at = '2000-01-01 00:00:00.000000'"))
        await connection.execute(sa.update(physio.users).values(first_name="A"))
        found = (await connection.execute(sa.text("SELECT updated_at FROM users"))).scalar_one()
    await engine.dispose()
    assert found > "2020"

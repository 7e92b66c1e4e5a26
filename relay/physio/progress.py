"""Movement timeline of one session, and progress over several: builds the bodies of the timeline and analytics answers.
Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.motion.exercises import EXERCISES
from core.motion.form import Issue, Movement, analyse
from core.motion.reps import Repetition
from relay.physio.rules import Statistics
from relay.physio.shapes import moment

Row = dict[str, Any]
CURVE_DIGITS = 2
MAX_WEEKS = 104
"""Most weeks listed one by one in the adherence figures; the newest ones are kept."""


def movement(exercise: str | None, frames: list[Row]) -> Row:
    """Timeline of a session: curves by joint (null where not seen), repetitions, issues, and the summary that is
    stored.
    """
    times = np.array([row["timestamp_ms"] for row in frames], float)
    joints = sorted({joint for row in frames for joint in row["calculated_angles"] or {}})
    curves = {
        joint: np.array([(row["calculated_angles"] or {}).get(joint, np.nan) for row in frames], float)
        for joint in joints
    }
    found = analyse(exercise or "", times, curves)
    counted = [_repetition(rep) for rep in found.repetitions]
    return {
        "t": [row["timestamp_ms"] for row in frames],
        "angles": {
            joint: [None if v != v else round(v, CURVE_DIGITS) for v in c.tolist()] for joint, c in curves.items()
        },
        "quality": [row["quality_score"] for row in frames],
        "repetitions": counted,
        "issues": [_issue(issue) for issue in found.issues] + _said(frames),
        "summary": _summary(exercise, found, counted),
    }


def _summary(exercise: str | None, found: Movement, counted: list[Row]) -> Row:
    known = EXERCISES.get(exercise or "")
    return {
        "rules": known is not None,
        "joint": known.joint if known else None,
        "repetitions": len(counted),
        "attempts": len(found.attempts),
        "form_score": found.score,
        "tempo_ms": found.tempo_ms and {"there": round(found.tempo_ms[0]), "back": round(found.tempo_ms[1])},
        "balance_percent": found.balance,
        "held_seconds": None if found.held_ms is None else round(found.held_ms / 1000, 1),
        "issues": _counts(found.issues),
    }


def _counts(issues: tuple[Issue, ...]) -> dict[str, int]:
    kinds = sorted({issue.type for issue in issues})
    return {kind: sum(issue.type == kind for issue in issues) for kind in kinds}


def _repetition(rep: Repetition) -> Row:
    return {
        "start": int(rep.start_ms),
        "turn": int(rep.turn_ms),
        "end": int(rep.end_ms),
        "extreme": round(rep.extreme, 1),
    }


def _issue(issue: Issue) -> Row:
    return {
        "timestamp": int(issue.t_ms),
        "type": issue.type,
        "severity": issue.severity,
        "message": issue.message,
        "joint": issue.joint,
        "phase": issue.phase.value,
        "source": "relay",
    }


def _said(frames: list[Row]) -> list[Row]:
    """Issues reported by the sender; one that continues over consecutive frames is listed once."""
    lines: list[Row] = []
    before: set[tuple[str, str | None]] = set()
    for row in frames:
        now = {(issue["type"], issue.get("joint")): issue for issue in row["form_issues"] or []}
        for key, issue in now.items():
            if key not in before:
                lines.append(
                    {"timestamp": row["timestamp_ms"], "phase": None, "joint": None, **issue, "source": "sender"}
                )
        before = set(now)
    return lines


def progress(sessions: list[Row], appointments: list[Row], now: datetime) -> list[Row]:
    """Per patient and exercise: each session's range by joint, repetitions and quality, ordered by time; and per
    patient, how many of the `appointments` due by `now` were done.
    """
    kept = adherence(appointments, now)
    by_patient: dict[str, Row] = {row["patient_id"]: _of_patient(row) for row in appointments}
    for row in sessions:
        patient = by_patient.setdefault(row["patient_id"], _of_patient(row))
        exercise = patient["exercises"].setdefault(
            row["exercise_type"], {"exercise_type": row["exercise_type"], "sessions": [], "joints": {}}
        )
        _add(exercise, row)
    return [
        patient
        | {"exercises": [_closed(e) for e in patient["exercises"].values()], "adherence": kept.get(key, _summed([]))}
        for key, patient in by_patient.items()
    ]


def adherence(appointments: list[Row], now: datetime) -> dict[str, Row]:
    """Per patient: sessions due by `now` or already done, how many of them have frames, and both counts per week (named
    by its Monday's date, UTC).
    """
    by_patient: dict[str, list[tuple[datetime, bool]]] = {}
    for row in appointments:
        at = (row["scheduled_datetime"] or row["start_time"] or row["created_at"]).astimezone(UTC)
        done = bool(row["frame_count"])
        if done or at <= now:
            by_patient.setdefault(row["patient_id"], []).append((at, done))
    return {patient: _summed(sorted(due)) for patient, due in by_patient.items()}


def _summed(due: list[tuple[datetime, bool]]) -> Row:
    planned, done = len(due), sum(kept for _, kept in due)
    weeks: dict[datetime, list[int]] = {}
    if due:
        week, last = _monday(due[0][0]), _monday(due[-1][0])
        while week <= last and len(weeks) < MAX_WEEKS:
            weeks[last] = [0, 0]
            last -= timedelta(days=7)
    for at, kept in due:
        if (counts := weeks.get(_monday(at))) is not None:
            counts[0] += 1
            counts[1] += kept
    listed = [{"week": week.date().isoformat(), "planned": n, "done": k} for week, (n, k) in sorted(weeks.items())]
    return {
        "planned": planned,
        "done": done,
        "percent": round(100 * done / planned) if planned else None,
        "weeks": listed,
    }


def _monday(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=at.weekday())


def _of_patient(row: Row) -> Row:
    return {"patient_id": row["patient_id"], "patient_name": row["patient_name"], "exercises": {}}


def _add(exercise: Row, row: Row) -> None:
    statistics = Statistics.of_row(row)
    found = row["motion"] or {}
    at = moment(row["start_time"] or row["created_at"])
    exercise["sessions"].append(
        {
            "session_id": row["id"],
            "at": at,
            "scheduled_datetime": moment(row["scheduled_datetime"]),
            "repetitions": found.get("repetitions") if found.get("rules", True) else None,
            "form_score": found.get("form_score"),
            "balance_percent": found.get("balance_percent"),
            "held_seconds": found.get("held_seconds"),
            "average_quality": statistics.average_quality,
            "duration_seconds": row["duration_seconds"],
        }
    )
    for joint, spread in sorted(statistics.angles.items()):
        line = {
            "session_id": row["id"],
            "at": at,
            **spread.range,
            "range_of_motion": round(spread.high - spread.low, 4),
        }
        exercise["joints"].setdefault(joint, []).append(line)


def _closed(exercise: Row) -> Row:
    """The exercise with its session count and, per joint, the change in range of motion from first to last session
    (degrees).
    """
    change = {
        joint: round(lines[-1]["range_of_motion"] - lines[0]["range_of_motion"], 4)
        for joint, lines in exercise["joints"].items()
    }
    return exercise | {"session_count": len(exercise["sessions"]), "range_of_motion_change": change}

"""What is worth a look in a recording: what goes wrong, and what operators ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from google.protobuf.message import Message

from colossus_protos.v1 import action_pb2, common_pb2, console_pb2, recording_pb2
from colossus_tui.recording.format import MarkFlag

DETAIL_LIMIT = 200
FLAGS = {
    recording_pb2.MARK_KIND_ALERT: MarkFlag.ALERT,
    recording_pb2.MARK_KIND_ACTION: MarkFlag.ACTION,
}


class Marks:
    """Finds what is new in each answer; what was there from the start is no news."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def of(self, scope: str, answer: Message, time_unix_ns: int) -> list[recording_pb2.Mark]:
        """Return what has begun since the answer before to the same question."""
        if not isinstance(answer, console_pb2.WatchViewResponse):
            return []
        return [
            recording_pb2.Mark(time_unix_ns=time_unix_ns, kind=kind, detail=detail[:DETAIL_LIMIT])
            for source, (asked, kind, find) in SOURCES.items()
            if asked == scope
            for detail in self._new(source, find(answer))
        ]

    def _new(self, source: str, now: dict[str, str]) -> list[str]:
        """Return the details of what was not there before, and remember what is."""
        before = self._seen.get(source)
        self._seen[source] = set(now)
        return [] if before is None else [now[name] for name in now if name not in before]


def _alerts(answer: console_pb2.WatchViewResponse) -> dict[str, str]:
    """Return what is wrong with runs, and of the site the first, second, ... of each kind."""
    found = {(run.run_id, a.kind, 0): a for run in answer.runs for a in run.alerts}
    counts: Counter[str] = Counter()
    for alert in answer.site.alerts:
        counts[alert.kind] += 1
        found["", alert.kind, counts[alert.kind]] = alert
    return {
        "/".join(map(str, name)): f"{name[0]} {alert.message}".strip()
        for name, alert in found.items()
        if alert.severity > common_pb2.SEVERITY_INFO
    }


def _events(answer: console_pb2.WatchViewResponse) -> dict[str, str]:
    return {
        str(event.event_id): f"{event.run_id or event.node_name} {event.message}".strip()
        for event in answer.events
        if event.severity > common_pb2.SEVERITY_INFO
    }


def _actions(answer: console_pb2.WatchViewResponse) -> dict[str, str]:
    return {
        action.action_id: f"{_verb(action)} {action.run_id or action.parameters.node_name}"
        f" by {action.operator}"
        for action in answer.actions
    }


def _verb(action: action_pb2.Action) -> str:
    try:
        return common_pb2.Verb.Name(action.verb).removeprefix("VERB_").lower()
    except ValueError:
        return f"verb {action.verb}"  # of a hub that is newer


def _incidents(answer: console_pb2.WatchViewResponse) -> dict[str, str]:
    return {str(one.incident_id): one.title for one in answer.incidents}


_Find: TypeAlias = Callable[[console_pb2.WatchViewResponse], dict[str, str]]
_ALERT, _ACTION = recording_pb2.MARK_KIND_ALERT, recording_pb2.MARK_KIND_ACTION
# What is looked for: in the answer to which question, of which kind it is, and how it is found.
SOURCES: dict[str, tuple[str, recording_pb2.MarkKind.ValueType, _Find]] = {
    "alerts": ("runs", _ALERT, _alerts),
    "events": ("events", _ALERT, _events),
    "actions": ("events", _ACTION, _actions),
    "incidents": ("incidents", _ALERT, _incidents),
}

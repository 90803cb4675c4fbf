"""The consoles' service where hubs share a database: the others' runs beside this hub's own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

from colossus_protos.v1 import action_pb2, common_pb2, console_pb2, curve_pb2, money_pb2
from colossus_tui.hub.console_service import (
    ACTION_LIMIT,
    CURVE_SECONDS,
    FAR_SECONDS,
    ConsoleService,
    brief_action,
)
from colossus_tui.hub.peers.live import ANSWER_SECONDS, ASK_SECONDS, HANDED_ON, Peer, Peers
from colossus_tui.model import Action
from colossus_tui.wire import to_proto

_Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")
STALE_SECONDS = 10.0
DETAILS_KEPT = 64
MONEY_SUMS = (
    "per_hour",
    "gpus_per_hour",
    "energy_per_hour",
    "held_idle_per_hour",
    "free_per_hour",
)


def is_handed_on(context: _Context) -> bool:
    """Whether another hub asks: it wants this hub's own answer."""
    return any(key == HANDED_ON for key, _ in context.invocation_metadata() or ())


class SharedConsole(ConsoleService):
    """Serves views of all hubs.

    Args:
        parts: What ConsoleService takes.
    """

    def __init__(self, peers: Peers, *parts: Any) -> None:
        super().__init__(*parts)
        self._peers = peers
        self._details: dict[str, tuple[float, console_pb2.WatchViewResponse]] = {}

    def _resolve(self, run_id: str, context: _Context) -> tuple[Peer | None, str]:
        return (None, run_id) if is_handed_on(context) else self._peers.resolve(run_id)

    async def _hand_on(
        self, peer: Peer, method: Callable[..., Awaitable[T]], request: Any, context: _Context
    ) -> T:
        if peer.away:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, peer.away)
        try:
            return await self._ask(method, request)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                code = grpc.StatusCode.FAILED_PRECONDITION  # this hub is there, the other is not
            await context.abort(code, peer.away or f"hub {peer.hub}: {error.details()}")
            raise AssertionError from None

    async def _ask(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        metadata = ((HANDED_ON, self._peers.shared.hub),)
        return await method(request, metadata=metadata, timeout=ANSWER_SECONDS)

    async def ListRuns(
        self, request: console_pb2.ListRunsRequest, context: _Context
    ) -> console_pb2.ListRunsResponse:
        """The site and all runs."""
        answer = await super().ListRuns(request, context)
        if not is_handed_on(context):
            self._add_others(answer)
        return answer

    async def GetRun(
        self, request: console_pb2.GetRunRequest, context: _Context
    ) -> console_pb2.GetRunResponse:
        """One run; of a hub that is away, what was known."""
        peer, name = self._resolve(request.run_id, context)
        if peer is None:
            return await super().GetRun(console_pb2.GetRunRequest(run_id=name), context)
        detail = (await self._detail(peer, name, (), 0, 0)).run
        return console_pb2.GetRunResponse(header=self._header(context), detail=detail)

    async def GetHistory(
        self, request: console_pb2.GetHistoryRequest, context: _Context
    ) -> console_pb2.GetHistoryResponse:
        """Values over time."""
        peer, request.run_id = self._resolve(request.run_id, context)
        if peer is None:
            return await super().GetHistory(request, context)
        answer = await self._hand_on(peer, peer.console.GetHistory, request, context)
        answer.header.CopyFrom(self._header(context))
        return answer

    async def ListGpus(
        self, request: console_pb2.ListGpusRequest, context: _Context
    ) -> console_pb2.ListGpusResponse:
        """GPUs; of one run also another hub's."""
        peer, request.run_id = self._resolve(request.run_id, context)
        if peer is None:
            return await super().ListGpus(request, context)
        answer = await self._hand_on(peer, peer.console.ListGpus, request, context)
        answer.header.CopyFrom(self._header(context))
        return answer

    async def WatchView(
        self, request: console_pb2.WatchViewRequest, context: _Context
    ) -> AsyncIterator[console_pb2.WatchViewResponse]:
        """A view each time it may have changed, at most once a period."""
        asked, curves_due = request.run_id, 0.0
        _, request.run_id = self._resolve(asked, context)
        async for answer in super().WatchView(request, context):
            if not is_handed_on(context):
                await self._complete(answer, request, asked)
                if request.curves and time.monotonic() >= curves_due:
                    curves_due = time.monotonic() + CURVE_SECONDS
                    answer.curves.extend(await self._others_curves())
            yield answer

    async def GetCurves(
        self, request: curve_pb2.GetCurvesRequest, context: _Context
    ) -> console_pb2.GetCurvesResponse:
        """How runs learned, also the other hubs'."""
        if is_handed_on(context):
            return await super().GetCurves(request, context)
        asked = set(request.run_ids)
        own = [run_id for run_id in asked if self._peers.resolve(run_id)[0] is None]
        answer = console_pb2.GetCurvesResponse(header=self._header(context))
        if own or not asked:
            mine = curve_pb2.GetCurvesRequest(run_ids=own)
            answer.curves.extend((await super().GetCurves(mine, context)).curves)
        if len(own) < len(asked) or not asked:
            others = await self._others_curves()
            answer.curves.extend(one for one in others if not asked or one.run_id in asked)
        return answer

    async def _others_curves(self) -> list[curve_pb2.Curve]:
        """Return the curves of the other hubs' runs, as far as these answer."""
        found: list[curve_pb2.Curve] = []
        for peer in self._peers.all():
            with suppress(grpc.aio.AioRpcError):
                ask = curve_pb2.GetCurvesRequest()
                answer = await self._ask(peer.console.GetCurves, ask)
                for curve in answer.curves if not peer.failure else ():
                    curve.run_id = self._peers.shown_name(peer.hub, curve.run_id)
                    found.append(curve)
        return found

    async def _complete(
        self,
        answer: console_pb2.WatchViewResponse,
        request: console_pb2.WatchViewRequest,
        run_id: str,
    ) -> None:
        if request.runs:
            self._add_others(answer)
        if request.events:
            actions = [*answer.actions, *map(_brief, self._peers.recent_actions())]
            actions.sort(key=lambda action: action.requested_time_unix_ns, reverse=True)
            del answer.actions[:]
            answer.actions.extend(actions[:ACTION_LIMIT])
        peer, name = self._peers.resolve(run_id)
        if peer is not None:
            answer.ClearField("series")  # of a run of this name here
            series = tuple(request.series)
            span = int(request.span_seconds) if request.span_seconds < FAR_SECONDS else 0
            found = await self._detail(peer, name, series, request.max_points, span)
            answer.run.CopyFrom(found.run)
            answer.series.extend(found.series)

    async def _detail(
        self, peer: Peer, name: str, series: tuple[str, ...], max_points: int, span_seconds: int
    ) -> console_pb2.WatchViewResponse:
        """Return another hub's run and its series, asked once a second for all consoles."""
        key = f"{peer.hub} {name} {series} {max_points} {span_seconds}"
        now = time.monotonic()
        cached = self._details.get(key)
        if cached is not None and now - cached[0] < ASK_SECONDS:
            return cached[1]
        found = console_pb2.WatchViewResponse()
        if cached is not None:
            found.CopyFrom(cached[1])
        run = peer.runs.get(name, console_pb2.Run(run_id=name))
        if not peer.failure:
            with suppress(grpc.aio.AioRpcError):  # what was known stays, and ages
                found = await self._asked(peer, name, series, max_points, span_seconds)
                run = found.run.run
        shown = _shown_run(peer, run, self._peers.shown_name(peer.hub, name))
        found.run.run.CopyFrom(shown)
        while len(self._details) >= DETAILS_KEPT:
            del self._details[min(self._details, key=lambda one: self._details[one][0])]
        self._details[key] = (time.monotonic(), found)
        return found

    async def _asked(
        self, peer: Peer, name: str, series: tuple[str, ...], max_points: int, span_seconds: int
    ) -> console_pb2.WatchViewResponse:
        found = console_pb2.WatchViewResponse()
        ask = console_pb2.GetRunRequest(run_id=name)
        found.run.CopyFrom((await self._ask(peer.console.GetRun, ask)).detail)
        if series:
            history = console_pb2.GetHistoryRequest(
                run_id=name,
                series=series,
                max_points=max_points,
                since_unix_ns=time.time_ns() - span_seconds * 10**9 if span_seconds > 0 else 0,
            )
            found.series.extend((await self._ask(peer.console.GetHistory, history)).series)
        return found

    def _add_others(
        self, answer: console_pb2.ListRunsResponse | console_pb2.WatchViewResponse
    ) -> None:
        """Add the other hubs' runs and figures to this one's."""
        peers = self._peers.all()
        runs = list(answer.runs)
        for peer in peers:
            runs += [
                _shown_run(peer, run, self._peers.shown_name(peer.hub, run.run_id))
                for run in peer.runs.values()
            ]
            if peer.site is not None:
                _add_site(answer.site, peer.site, peer.age_seconds)
            if peer.failure:
                answer.site.alerts.append(_away_alert(peer))
        runs.sort(key=lambda run: (run.priority_class, run.run_id))
        del answer.runs[:]
        answer.runs.extend(runs)


def _brief(action: Action) -> action_pb2.Action:
    return to_proto(action_pb2.Action, brief_action(action))


def _shown_run(peer: Peer, run: console_pb2.Run, name: str) -> console_pb2.Run:
    """Return another hub's run as it is shown here: named, older, and whose it is."""
    shown = console_pb2.Run()
    shown.CopyFrom(run)
    age = peer.age_seconds
    shown.run_id = name
    shown.age_seconds += age
    shown.label = f"{run.label} @{peer.hub}".lstrip()
    if peer.failure:
        shown.label += f", as of {age:.0f} s ago"
        shown.alerts.append(_away_alert(peer))
    if age > STALE_SECONDS:
        shown.reporting_node_count = shown.reporting_gpu_count = 0
    return shown


def _away_alert(peer: Peer) -> console_pb2.Alert:
    return console_pb2.Alert(
        severity=common_pb2.SEVERITY_WARNING, kind="hub.away", message=peer.away
    )


def _add_money(money: money_pb2.SiteMoney, other: money_pb2.SiteMoney) -> None:
    """Add what another hub's GPUs cost; without its prices, or in another currency, nothing."""
    if other.currency != money.currency:
        return  # the number of GPUs that are priced says so
    theirs: Any = other  # the stubs take fields' names only as literals
    for name in MONEY_SUMS:
        if theirs.HasField(name):
            setattr(money, name, getattr(money, name) + getattr(theirs, name))
    money.metered_gpu_count += other.metered_gpu_count
    money.gpu_count += other.gpu_count


def _add_site(site: console_pb2.Site, other: console_pb2.Site, age: float) -> None:
    """Add another hub's figures; of one that is stale only what there is, not what it does."""
    site.node_count += other.node_count
    site.gpu_count += other.gpu_count
    for state, count in other.run_counts.items():
        site.run_counts[state] += count
    if age > STALE_SECONDS:
        return
    here, there = site.reporting_node_count, other.reporting_node_count
    if other.HasField("cpu_utilisation_ratio"):
        sums = site.cpu_utilisation_ratio * here + other.cpu_utilisation_ratio * there
        site.cpu_utilisation_ratio = sums / max(here + there, 1)
    site.reporting_node_count += there
    site.reporting_gpu_count += other.reporting_gpu_count
    _add_money(site.money, other.money)
    if other.HasField("power_watts"):
        site.power_watts += other.power_watts
        site.power_node_count += other.power_node_count
        site.power_basis = max(site.power_basis, other.power_basis, key=len)
    site.age_seconds = max(site.age_seconds, other.age_seconds + age)
    site.limits.extend(other.limits)

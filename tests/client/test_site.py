"""The client over a whole site: maps, found GPUs, places, and layouts kept across a watch."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_protos.v1 import site_pb2
from colossus_tui.client import AsyncClient, Client, InvalidRequestError
from colossus_tui.model import MapLayout, MapRequest, PlaceKind
from tests.fakes.fake_site import FakeSite

WRONG = "run=10t and tmep>85"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FakeSite]:
    with FakeSite(f"unix:{tmp_path}/hub.sock") as fake:
        yield fake


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def layout(revision: int, *cells: str) -> site_pb2.MapLayout:
    return site_pb2.MapLayout(
        revision=revision,
        group_names=["A"],
        group_sizes=[len(cells)],
        cell_names=cells,
        gpu_counts=[72] * len(cells),
    )


def test_a_map_comes_with_its_layout(site: FakeSite) -> None:
    site.maps = [
        site_pb2.SiteMap(
            hall="A",
            metric="power",
            unit="W",
            layout=layout(1, "A-01", "A-02"),
            values=floats(80_000, float("nan")),
            states=bytes([1, 4]),
            matching_counts=struct.pack("<2i", 3, 0),
            matching_gpu_count=3,
        )
    ]
    request = MapRequest(hall="A", where="temp>85")

    with Client(site.address) as client:
        found = client.site_map(request)

    (asked,) = site.asked
    assert (asked.map.hall, asked.map.metric, asked.map.where) == ("A", "power", "temp>85")
    assert found.layout == MapLayout(1, ("A",), (2,), ("A-01", "A-02"), (72, 72))
    assert found.cell_values()[0] == 80_000
    assert list(found.cell_matches()) == [3, 0]
    assert found.roll_up is None


def test_a_layout_is_remembered_across_a_watch(site: FakeSite) -> None:
    first, second = layout(1, "A-01"), layout(2, "A-01", "A-02")
    site.maps = [
        site_pb2.SiteMap(metric="power", layout=first, values=floats(1)),
        site_pb2.SiteMap(metric="power", values=floats(2)),
        site_pb2.SiteMap(metric="power", layout=second, values=floats(3, 4)),
        site_pb2.SiteMap(metric="power", values=floats(5, 6)),
    ]

    with Client(site.address) as client:
        views = list(client.watch(map=MapRequest(where="run=10t")))

    assert site.asked[0].map.where == "run=10t"
    maps = [view.map for view in views if view.map is not None]
    layouts = [one.layout for one in maps if one.layout is not None]
    assert [one.revision for one in layouts] == [1, 1, 2, 2]
    assert [one.cell_names for one in layouts[1:3]] == [("A-01",), ("A-01", "A-02")]
    assert [list(one.cell_values()) for one in maps] == [[1], [2], [3, 4], [5, 6]]


def test_a_watch_without_a_map_asks_for_none(site: FakeSite) -> None:
    site.maps = []
    with Client(site.address) as client:
        assert list(client.watch()) == []
    assert not site.asked[0].HasField("map")


def test_gpus_are_found_with_how_many_there_are(site: FakeSite) -> None:
    site.gpus = [
        site_pb2.FoundGpu(node_name=f"node-{index}", rank=-1, values={"power": 100.0 + index})
        for index in range(5)
    ]
    site.hidden_count = 10

    with Client(site.address) as client:
        found = client.find_gpus("power>100", limit=2, order="power")
        everything = client.find_gpus()

    assert found.total_count == 14
    assert [gpu.node_name for gpu in found.gpus] == ["node-4", "node-3"]
    assert (found.gpus[0].rank, found.gpus[0].values) == (-1, {"power": 104.0})
    assert len(everything.gpus) == 5
    assert (site.asked[1].where, site.asked[1].limit, site.asked[1].order) == ("", 100, "")


def test_places_are_of_one_kind_hall_and_name(site: FakeSite) -> None:
    site.places = [
        site_pb2.Place(kind=site_pb2.PLACE_KIND_HALL, name="B"),
        site_pb2.Place(kind=site_pb2.PLACE_KIND_RACK, name="1", hall="A"),
        site_pb2.Place(
            kind=site_pb2.PLACE_KIND_RACK,
            name="1",
            hall="B",
            roll_ups=[site_pb2.RollUp(metric="power", unit="W", sum=5, reporting_count=1)],
        ),
    ]

    with Client(site.address) as client:
        (rack,) = client.places(PlaceKind.RACK, hall="B", name="1")
        assert client.places(PlaceKind.RUN) == ()

    assert (rack.kind, rack.hall, rack.name) == (PlaceKind.RACK, "B", "1")
    power = rack.roll_up("power")
    assert power is not None
    assert power.sum == 5


def test_a_wrong_filter_is_refused_in_the_languages_words_unasked(site: FakeSite) -> None:
    async def asynchronously() -> None:
        async with AsyncClient(site.address) as client:
            with pytest.raises(InvalidRequestError, match="did you mean temp"):
                await client.find_gpus(WRONG)
            with pytest.raises(InvalidRequestError, match="did you mean temp"):
                async for _ in client.watch(map=MapRequest(where=WRONG)):
                    pass

    with Client(site.address) as client:
        for ask in (
            lambda: client.find_gpus(WRONG),
            lambda: client.site_map(MapRequest(where=WRONG)),
            lambda: list(client.watch(map=MapRequest(where=WRONG))),
        ):
            with pytest.raises(InvalidRequestError, match="at character 13"):
                ask()
    asyncio.run(asynchronously())

    assert not site.asked

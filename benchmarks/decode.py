"""Reading 5,000 VMs: ours against json.loads, bare msgspec and the official SDK's reader.

Each VM is a recorded one with two cards, six addresses and a tag. The seconds are of CPU, the
best of several rounds that take turns, as the machine may be busy with other things. "ours, first"
joins every VM, "ours, next" finds them as they were. The stall is the longest time that the loop
is kept from anything else, in CPU time as well: for decoding alone a page of 500, for a whole
listing as another task of the loop sees it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import io
import json
import multiprocessing
import re
import sys
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID
from xml.sax.saxutils import escape, quoteattr

import ovirtsdk4.xml
from ovirtsdk4.reader import Reader
from rich import box
from rich.console import Console
from rich.table import Table

from provider.commands.run import settle_heap
from provider.config import Engine, Limits, Selection
from provider.metrics import Metrics
from provider.ovirt import wire
from provider.ovirt.client import EngineClient
from provider.ovirt.decode import Decoder
from provider.ovirt.listing import Lister
from provider.ovirt.topology import Topology, join_tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

RECORDINGS = Path(__file__).parents[1] / "tests" / "data" / "engine-4.5.8"
PAGE = 500
PAUSE = 0.001  # seconds between two looks at the loop


def recorded(name: str) -> Any:
    """The JSON of one recording."""
    return json.loads((RECORDINGS / name).read_bytes())


def model_vm() -> dict[str, Any]:
    """A recorded VM whose guest reports its addresses."""
    vms: list[dict[str, Any]] = recorded("026-vms-search-tag-follow.json")["vm"]
    return next(vm for vm in vms if vm.get("reported_devices"))


def vm(model: dict[str, Any], n: int) -> dict[str, Any]:
    """The n-th VM: like the model, with its own id, name, two cards and six addresses."""
    nic, device = model["nics"]["nic"][0], model["reported_devices"]["reported_device"][0]
    macs = [f"56:6f:1a:{k:02x}:{n >> 8:02x}:{n & 255:02x}" for k in range(2)]
    nics = [{**nic, "name": f"nic{k}", "mac": {"address": macs[k]}} for k in range(2)]
    devices = [
        {**device, "name": f"eth{k}", "mac": {"address": macs[k]}, "ips": {"ip": ips(k, n)}}
        for k in range(2)
    ]
    return {
        **model,
        "id": str(UUID(int=n + 1)),
        "name": f"worker-{n:04}",
        "status": "up",
        "nics": {"nic": nics},
        "reported_devices": {"reported_device": devices},
    }


def ips(card: int, n: int) -> list[dict[str, str]]:
    """An IPv4, a global IPv6 and a link-local address."""
    return [
        {"address": str(IPv4Address(0x0A000000 + (card << 20) + n)), "version": "v4"},
        {"address": str(IPv6Address((0x20010DB8 << 96) + (card << 32) + n)), "version": "v6"},
        {"address": str(IPv6Address((0xFE80 << 112) + (card << 32) + n)), "version": "v6"},
    ]


def xml(name: str, value: Any) -> str:
    """The engine's XML of what its JSON says: ids and links as attributes, empty things closed."""
    if not isinstance(value, dict):
        return f"<{name}>{escape(str(value))}</{name}>" if value != "" else f"<{name}/>"
    attributes = "".join(
        f" {key}={quoteattr(value[key])}" for key in ("href", "id", "rel") if key in value
    )
    inner = "".join(
        xml(key, item)
        for key, member in value.items()
        if key not in ("href", "id", "rel")
        for item in (member if isinstance(member, list) else [member])
    )
    return f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"


def dated(vm: dict[str, Any]) -> dict[str, Any]:
    """With dates as they are in XML."""
    dates = ("start_time", "stop_time", "creation_time")
    return {**vm, **{key: "2026-11-20T08:00:00.000Z" for key in dates if key in vm}}


def topology() -> Topology:
    """The recorded tags; nothing else matters to the time."""
    tags = wire.read("east", wire.Tags, (RECORDINGS / "070-tags.json").read_bytes()).tag
    return Topology(tags=join_tags("east", tags))


class Candidate:
    """One way to read pages: its best CPU seconds, and the longest page of its best round."""

    def __init__(self, name: str, read: Callable[[bytes], object], pages: list[bytes]) -> None:
        self.name = name
        self.seconds = float("inf")
        self.stall = float("inf")
        self._read = read
        self._pages = pages

    def round(self) -> None:
        """Reads all pages once."""
        gc.collect()
        times, kept = [], []
        for page in self._pages:
            began = time.process_time()
            kept.append(self._read(page))
            times.append(time.process_time() - began)
        self.seconds = min(self.seconds, sum(times))
        self.stall = min(self.stall, max(times))


class Ours:
    """Pages to instances, with and without knowing them from before."""

    def __init__(self) -> None:
        self._decoder = self._fresh()

    @staticmethod
    def _fresh() -> Decoder:
        decoder = Decoder("east")
        decoder.use("id", topology())
        return decoder

    def first(self, page: bytes) -> object:
        """As in the first listing."""
        return [*map(self._fresh().instance, wire.read_page("east", page))]

    def later(self, page: bytes) -> object:
        """As in every listing after it."""
        return [*map(self._decoder.instance, wire.read_page("east", page))]


def sdk(page: bytes) -> object:
    """The SDK's objects."""
    return Reader.read(ovirtsdk4.xml.XmlReader(io.BytesIO(page)))


# ---- a whole listing over HTTP -----------------------------------------------------------------


def serve(pages: list[bytes], port: Connection) -> None:
    """An engine that has its compressed answers ready, in a process of its own."""
    fixed = {
        "/sso/oauth/token": "001-sso-token.json",
        "/sso-logout": "012-sso-logout.json",
        "/api/tags": "070-tags.json",
        "/api/hosts": "074-hosts.json",
        "/api/clusters": "076-clusters.json",
        "/api/datacenters": "077-datacenters.json",
        "/api/instancetypes": "078-instancetypes.json",
        "/api": "015-api-root.json",
    }
    bodies = {
        path: gzip.compress((RECORDINGS / name).read_bytes()) for path, name in fixed.items()
    }
    packed = [*(gzip.compress(page, 6) for page in pages), gzip.compress(b"{ }")]

    def answer(target: str) -> bytes:
        if found := re.search(r"page%20(\d+)", target):
            return packed[min(int(found[1]), len(packed)) - 1]
        return next(
            body for path, body in bodies.items() if target.partition("?")[0].endswith(path)
        )

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if length := re.search(r"(?i)content-length: (\d+)", head):
                    await reader.readexactly(int(length[1]))
                body = answer(head.split(" ")[1])
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nCorrelation-Id: 1\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def longest_stall(done: asyncio.Event) -> float:
    """The most CPU time that the loop spent until it got round to this again, until `done`."""
    longest = 0.0
    while not done.is_set():
        began = time.thread_time()
        await asyncio.sleep(PAUSE)
        longest = max(longest, time.thread_time() - began)
    return longest


async def listings(port: int, directory: Path, rounds: int) -> list[tuple[float, float]]:
    """CPU seconds and longest stall of each of some listings, one after another."""
    secret = directory / "password"
    secret.write_text("secret")
    engine = Engine(
        url=f"http://127.0.0.1:{port}/ovirt-engine",
        username="reader@internal",
        password_file=secret,
    )
    found, previous = [], None
    async with EngineClient(engine, Limits(page_size=PAGE), Metrics()) as client:
        lister = Lister(client, Selection())
        for _ in range(rounds):
            gc.collect()
            done = asyncio.Event()
            watch = asyncio.create_task(longest_stall(done))
            await asyncio.sleep(0.01)
            began = time.process_time()
            previous = await lister.take(previous)
            spent = time.process_time() - began
            done.set()
            found.append((spent, await watch))
    return found


def whole_listing(pages: list[bytes], rounds: int) -> list[tuple[float, float]]:
    """As `listings`, with an engine of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    engine = context.Process(target=serve, args=(pages, theirs), daemon=True)
    engine.start()
    try:
        with TemporaryDirectory() as directory:
            return asyncio.run(listings(ours.recv(), Path(directory), rounds))
    finally:
        engine.terminate()
        engine.join()


def measure(count: int, rounds: int) -> None:
    """Measures and prints the table."""
    say(f"making {count} VMs")
    model = model_vm()
    vms = [vm(model, n) for n in range(count)]
    chunks = [vms[start : start + PAGE] for start in range(0, count, PAGE)]
    pages = [json.dumps({"vm": chunk}).encode() for chunk in chunks]
    texts = ["".join(xml("vm", dated(one)) for one in chunk) for chunk in chunks]
    sheets = [f"<vms>{text}</vms>".encode() for text in texts]
    del vms, chunks, texts
    ours = Ours()
    bare = Candidate("bare msgspec, typed", wire._page.decode, pages)  # noqa: SLF001
    candidates = [
        bare,
        Candidate("ours, next", ours.later, pages),
        Candidate("ours, first", ours.first, pages),
        Candidate("json.loads", json.loads, pages),
        Candidate("SDK's reader (XML)", sdk, sheets),
    ]
    settle_heap()  # as `ovirt-ccm run` does
    say("listing them over HTTP")
    over_http = whole_listing(pages, rounds + 1)
    for page in pages:
        ours.later(page)
    for n in range(rounds):
        say(f"round {n + 1} of {rounds}")
        for candidate in candidates:
            candidate.round()

    size = sum(map(len, pages)) / 1e6
    table = Table("", title=f"{count} VMs, {size:.0f} MB of JSON", box=box.SIMPLE_HEAD)
    for head in ("CPU s", "to bare", "stall ms"):
        table.add_column(head, justify="right")
    rows = [(one.name, one.seconds, one.stall) for one in candidates]
    rows.append(("first listing over HTTP", *over_http[0]))
    rows.append(("next listing over HTTP", *map(min, *over_http[1:])))
    for name, seconds, stall in rows:
        ratio = f"{seconds / bare.seconds:.2f}"
        table.add_row(name, f"{seconds:.3f}", ratio, f"{stall * 1000:.0f}")
    Console().print(table)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vms", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    measure(arguments.vms, arguments.rounds)


if __name__ == "__main__":
    main()

from __future__ import annotations

import asyncio
import gzip
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from provider.config import Limits
from provider.errors import (
    EngineError,
    EngineUnavailable,
    EngineUntrusted,
    LoginRefused,
    PermissionMissing,
)
from provider.ovirt.faults import InternalFault
from provider.simulator.engine import SimulatedEngine
from provider.simulator.scenario import UserSpec
from tests.ovirt.lab import PASSWORD, Lab, many, running, scenario, vm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from provider.ovirt.client import EngineClient
    from provider.ovirt.faults import Reply


@asynccontextmanager
async def answering(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The url of a server that reads the head of a request and answers as it is told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ovirt-engine"
    server.close()


async def ask(client: EngineClient) -> Reply:
    return await client.get("tags", "/tags", {})


async def test_it_logs_in_once_for_many_requests_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        await asyncio.gather(*(ask(client) for _ in range(10)))

        assert lab.logins == 1


async def test_at_most_four_requests_are_under_way(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.faults.delay = 0.01

        await asyncio.gather(*(ask(client) for _ in range(12)))

        assert lab.simulator.requests.most_in_flight == 4


async def test_it_logs_out_at_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        async with lab.client() as client:
            await ask(client)

        assert lab.counts["POST /services/sso-logout"] == 1
        assert not lab.simulator.accounts.sessions


async def test_without_a_log_in_there_is_no_log_out(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        async with lab.client():
            pass

        assert not lab.counts


async def test_a_failing_log_out_is_no_error(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        await ask(client)
        lab.faults.availability = "down"


async def test_the_correlation_id_is_one_that_the_engine_keeps(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        reply = await ask(client)

        sent = reply.headers["correlation-id"]
        assert sent.startswith("ccm-")
        assert len(sent) <= 36
        assert lab.simulator.requests.seen[-1].correlation_id == sent


async def test_answers_come_compressed(tmp_path: Path) -> None:
    async with running(tmp_path, many(30)) as lab, lab.client() as client:
        reply = await client.get("list_vms", "/vms", {})

        assert reply.headers["Content-Encoding"] == "gzip"


async def test_after_a_restart_one_log_in_and_one_replay_suffice(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        await ask(client)
        lab.simulator.accounts.forget_everybody()
        lab.forget_requests()

        replies = await asyncio.gather(*(ask(client) for _ in range(4)))

        assert [reply.status for reply in replies] == [200] * 4
        assert lab.logins == 1


@pytest.mark.looptime
async def test_a_refused_fresh_token_is_an_ill_engine_and_no_reason_to_log_in_again(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.faults.refuse_tokens = True

        for _ in range(20):
            with pytest.raises(EngineUnavailable, match="a token that it has just given"):
                await ask(client)

        assert lab.logins == 1


@pytest.mark.looptime
async def test_an_engine_that_is_well_again_is_used_again(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.faults.refuse_tokens = True
        with pytest.raises(EngineUnavailable):
            await ask(client)
        lab.faults.refuse_tokens = False

        await asyncio.sleep(61)

        assert (await ask(client)).status == 200


@pytest.mark.looptime
async def test_an_old_token_that_stays_refused_costs_one_log_in_a_minute(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        await ask(client)
        lab.faults.refuse_tokens = True
        lab.forget_requests()

        for _ in range(120):
            with pytest.raises(EngineUnavailable):
                await ask(client)
            await asyncio.sleep(5)

        assert lab.logins <= 11


@pytest.mark.looptime
async def test_a_gone_object_is_none_and_a_page_of_a_stopping_engine_is_not(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, vm("w1")) as lab, lab.client() as client:
        path = f"/vms/{lab.world.vm('w1').id}"
        assert await client.find("read_vm", path, {}) is not None

        lab.faults.status = 404
        with pytest.raises(EngineUnavailable, match="answers 404"):
            await client.find("read_vm", path, {})
        lab.faults.reset()
        lab.world.vm("w1").remove()
        await asyncio.sleep(60)

        assert await client.find("read_vm", path, {}) is None


async def test_a_missing_collection_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        with pytest.raises(EngineUnavailable, match="answers 404"):
            await client.get("vms", "/nosuchcollection", {})


async def test_a_demoted_account_is_told_which_role_it_needs(tmp_path: Path) -> None:
    user = UserSpec(name="reader@internal", password=PASSWORD, role="UserRole")
    async with running(tmp_path, vm("w1"), users=(user,)) as lab, lab.client() as client:
        with pytest.raises(PermissionMissing) as caught:
            await client.get("list_vms", "/vms", {})

        assert "ReadOnlyAdmin" in caught.value.remedy


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ({"availability": "down"}, EngineUnavailable, "it is down, starting or stopping"),
        ({"database": "away"}, EngineUnavailable, "answers 400"),
        ({"forbidden": True}, PermissionMissing, "answers 403"),
        ({"drop_connection": True}, EngineUnavailable, "the connection broke"),
        ({"status": 500}, InternalFault, "answers 500"),
        ({"status": 302}, EngineUnavailable, "a redirect"),
        ({"body": "aborted"}, EngineUnavailable, "the connection broke"),
    ],
)
async def test_each_fault_of_the_engine_is_one_clear_error(
    tmp_path: Path, fault: dict[str, object], error: type[EngineError], text: str
) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        await ask(client)
        for name, value in fault.items():
            setattr(lab.faults, name, value)

        with pytest.raises(error, match=text) as caught:
            await ask(client)

        assert caught.value.engine == "east"
        assert len(caught.value.message) < 300


@pytest.mark.looptime
async def test_an_engine_that_does_not_answer_costs_the_time_out(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        await ask(client)
        lab.faults.availability = "starting"
        began = asyncio.get_running_loop().time()

        with pytest.raises(EngineUnavailable, match="no answer within 15 s"):
            await ask(client)

        assert asyncio.get_running_loop().time() - began == pytest.approx(15)


@pytest.mark.looptime
async def test_an_answer_that_trickles_costs_no_more_than_the_time_out(tmp_path: Path) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await asyncio.sleep(1)

    async with (
        answering(trickle) as url,
        running(tmp_path) as lab,
        lab.client(url=url) as client,
    ):
        with pytest.raises(EngineUnavailable, match="no answer within 15 s"):
            await ask(client)


async def test_an_answer_that_never_ends_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provider.ovirt.transport.MAX_BODY", 100_000)
    async with running(tmp_path, many(30)) as lab, lab.client() as client:
        with pytest.raises(EngineUnavailable, match="more than 0 MiB"):
            await client.get("list_vms", "/vms", {})


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (gzip.compress(b"{ }" * 1000)[:-12], "breaks off"),
        (b"no gzip at all", "not compressed as it says"),
    ],
)
async def test_a_compressed_answer_that_is_damaged_is_no_answer(
    tmp_path: Path, packed: bytes, text: str
) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        )
        writer.write(head.encode() + packed)

    async with answering(answer) as url, running(tmp_path) as lab, lab.client(url=url) as client:
        with pytest.raises(EngineUnavailable, match=text):
            await ask(client)


@pytest.mark.parametrize("size", [1, 1 << 20, (1 << 20) + 1, 5_000_000])
async def test_a_compressed_answer_of_any_size_is_whole(tmp_path: Path, size: int) -> None:
    whole = b'{"access_token":"t"}' + b" " * size
    packed = gzip.compress(whole)

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (len(packed), packed)
        )

    async with answering(answer) as url, running(tmp_path) as lab, lab.client(url=url) as client:
        assert (await ask(client)).body == whole


async def test_of_an_endless_error_page_only_the_beginning_is_read(tmp_path: Path) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\n\r\n<h1>Sorry</h1>")
        writer.write(b" " * 1_000_000)
        await asyncio.sleep(1)

    async with answering(answer) as url, running(tmp_path) as lab, lab.client(url=url) as client:
        with pytest.raises(EngineUnavailable, match="answers 500 to the log-in: Sorry"):
            await ask(client)


async def test_nobody_listening_is_said_with_address_and_port(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        await lab.simulator.stop()
        async with lab.client() as client:
            with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:\d+: Connection refused"):
                await ask(client)


async def test_a_name_that_does_not_resolve_is_said(tmp_path: Path) -> None:
    url = "https://engine.invalid/ovirt-engine"
    async with running(tmp_path) as lab, lab.client(url=url) as client:
        with pytest.raises(EngineUnavailable, match=r"engine\.invalid cannot be resolved"):
            await ask(client)


# ---- log-in ------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_a_wrong_password_is_tried_once_then_after_ten_minutes_then_hourly(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.password_file.write_text("wrong")
        tries = []
        began = asyncio.get_running_loop().time()

        while (now := asyncio.get_running_loop().time() - began) < 4 * 3600:
            before = lab.logins
            with pytest.raises(LoginRefused, match="Unable to log in"):
                await ask(client)
            if lab.logins > before:
                tries.append(now / 60)
            await asyncio.sleep(30)

        assert tries == pytest.approx([0, 10, 70, 131, 191], abs=1)


@pytest.mark.looptime
async def test_a_mended_password_is_used_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.password_file.write_text("wrong")
        with pytest.raises(LoginRefused):
            await ask(client)

        lab.password_file.write_text(PASSWORD)

        assert (await ask(client)).status == 200


@pytest.mark.looptime
async def test_a_refused_password_stays_one_when_the_second_try_is_not_answered(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.password_file.write_text("wrong")
        with pytest.raises(LoginRefused):
            await ask(client)
        lab.faults.delay = 20
        await asyncio.sleep(601)
        with pytest.raises(EngineUnavailable):
            await ask(client)

        await asyncio.sleep(3500)
        with pytest.raises(LoginRefused):
            await ask(client)

        assert lab.logins == 2
        lab.faults.reset()


@pytest.mark.looptime
async def test_only_one_newline_at_its_end_is_no_part_of_a_password(tmp_path: Path) -> None:
    user = UserSpec(name="reader@internal", password=" a&b+ü\n")
    async with running(tmp_path, users=(user,)) as lab, lab.client() as client:
        lab.password_file.write_text(" a&b+ü\n\n", encoding="utf-8")

        assert (await ask(client)).status == 200


@pytest.mark.looptime
async def test_a_locked_account_is_told_how_to_unlock_it(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.faults.lock_after = 1
        lab.password_file.write_text("wrong")
        with pytest.raises(LoginRefused):
            await ask(client)
        lab.password_file.write_text(PASSWORD)

        with pytest.raises(LoginRefused, match="locked") as caught:
            await ask(client)

        assert "unlock" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\n", "is empty"),
        (b"s\xffcret", "cannot be read: it is not UTF-8 text"),
    ],
)
async def test_without_a_password_nothing_is_asked(
    tmp_path: Path, content: bytes | None, text: str
) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.password_file.unlink()
        if content is not None:
            lab.password_file.write_bytes(content)

        with pytest.raises(LoginRefused, match=text):
            await ask(client)

        assert not lab.counts


async def test_a_log_in_without_a_database_is_no_refusal(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.faults.database = "away"
        with pytest.raises(EngineUnavailable, match="cannot log anybody in"):
            await ask(client)
        lab.faults.database = "up"

        assert (await ask(client)).status == 200


@pytest.mark.looptime
async def test_log_ins_that_are_not_answered_are_not_repeated_quickly(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        lab.password_file.write_text("wrong")
        lab.faults.paths = "sso"
        lab.faults.delay = 20
        loop = asyncio.get_running_loop()
        began = loop.time()

        while loop.time() - began < 600:
            with pytest.raises(EngineUnavailable):
                await ask(client)
            await asyncio.sleep(5)

        assert lab.logins <= 5


async def test_a_token_endpoint_that_is_none_is_said(tmp_path: Path) -> None:
    async def greet(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async with answering(greet) as url, running(tmp_path) as lab, lab.client(url=url) as client:
        with pytest.raises(EngineUnavailable, match="holds no token"):
            await ask(client)


# ---- TLS ---------------------------------------------------------------------------------------


class Secured:
    """A simulated engine behind a certificate for 127.0.0.1 of a CA of its own."""

    def __init__(self, directory: Path, identity: str = "127.0.0.1") -> None:
        self.authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(identity).configure_cert(self.context)
        self.ca_file = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        self.simulator = SimulatedEngine(scenario(vm("w1")))

    async def start(self, directory: Path) -> Lab:
        url = await self.simulator.start(ssl_context=self.context)
        return Lab(self.simulator, url, directory / "password")


async def test_a_certificate_of_the_configured_authority_is_trusted(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    lab = await secured.start(tmp_path)
    async with lab.client(ca_file=secured.ca_file) as client:
        assert (await ask(client)).status == 200
    await secured.simulator.stop()


async def test_an_untrusted_certificate_comes_with_the_way_to_trust_it(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    lab = await secured.start(tmp_path)
    async with lab.client() as client:
        with pytest.raises(EngineUntrusted, match="not trusted") as caught:
            await ask(client)
    await secured.simulator.stop()

    assert "pki-resource?resource=ca-certificate" in caught.value.remedy
    assert not lab.counts


async def test_a_certificate_for_another_name_is_said_as_such(tmp_path: Path) -> None:
    secured = Secured(tmp_path, "engine.example.com")
    lab = await secured.start(tmp_path)
    async with lab.client(ca_file=secured.ca_file) as client:
        with pytest.raises(EngineUntrusted) as caught:
            await ask(client)
    await secured.simulator.stop()

    assert "url" in caught.value.remedy


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_said(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content:
        ca_file.write_text(content)
    async with (
        running(tmp_path) as lab,
        lab.client(ca_file=ca_file, url="https://127.0.0.1:1/ovirt-engine") as client,
    ):
        with pytest.raises(EngineUntrusted, match=r"ca\.pem cannot be used"):
            await ask(client)


async def test_a_replaced_ca_file_is_used_without_a_restart(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    lab = await secured.start(tmp_path)
    right = secured.ca_file.read_text()
    trustme.CA().cert_pem.write_to_path(str(secured.ca_file))
    async with lab.client(ca_file=secured.ca_file) as client:
        with pytest.raises(EngineUntrusted):
            await ask(client)
        secured.ca_file.write_text(right)

        assert (await ask(client)).status == 200
    await secured.simulator.stop()


async def test_insecure_takes_any_certificate_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secured = Secured(tmp_path)
    lab = await secured.start(tmp_path)
    async with lab.client(insecure=True) as client:
        assert (await ask(client)).status == 200
    await secured.simulator.stop()

    assert "not verified" in capsys.readouterr().out


async def test_a_port_that_speaks_no_tls_is_no_question_of_trust(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        url = lab.engine.url.replace("http:", "https:")
        async with lab.client(url=url) as client:
            with pytest.raises(EngineUnavailable, match="TLS"):
                await ask(client)


async def test_what_was_asked_is_counted_by_verb_and_result(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client() as client:
        await ask(client)
        lab.faults.status = 503
        with pytest.raises(EngineUnavailable):
            await ask(client)

    text = lab.metrics.render().decode()
    assert 'engine_requests_total{engine="east",result="200",verb="tags"} 1.0' in text
    assert 'engine_requests_total{engine="east",result="503",verb="tags"} 1.0' in text


async def test_a_listing_has_a_time_out_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, lab.client(Limits()) as client:
        await ask(client)
        lab.faults.delay = 5

        with pytest.raises(EngineUnavailable, match=r"within 0\.01 s"):
            await client.get("list_vms", "/vms", {}, 0.01)
        lab.faults.reset()

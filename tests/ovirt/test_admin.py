from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from provider.config import Limits
from provider.errors import (
    EngineUnavailable,
    EngineUntrusted,
    PermissionMissing,
    SelectionInvalid,
)
from provider.ovirt.admin import tag, untag
from provider.simulator.engine import SimulatedEngine
from tests.builders import uuid_of
from tests.ovirt.lab import Lab, running, scenario, vm

if TYPE_CHECKING:
    from pathlib import Path

    from provider.ovirt.client import EngineClient

VMS = (vm("w1", tags=()), vm("w2"), vm("twin", tags=()), vm("node_été", tags=()))
TWIN = vm("twin", id=uuid_of("twin"), cluster="red", host="hv-2", tags=())


def admin(lab: Lab, limits: Limits | None = None) -> EngineClient:
    return lab.client(limits, username="admin@internal")


def tags_of(lab: Lab, name: str) -> set[str]:
    return {attached.name for attached in lab.world.vm(name).tags}


async def test_a_vm_is_tagged_and_a_missing_tag_made(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS) as lab, admin(lab) as client:
        done = await tag(client, ["w1", "node_été"], "swarm", dry_run=False)

        assert done == ("make the tag swarm", "tag w1 with swarm", "tag node_été with swarm")
        assert tags_of(lab, "w1") == {"swarm"}
        assert tags_of(lab, "node_été") == {"swarm"}


async def test_what_is_tagged_already_is_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS) as lab, admin(lab) as client:
        assert await tag(client, ["w2"], "docker-host", dry_run=False) == ()


async def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS) as lab, admin(lab) as client:
        said = await tag(client, ["w1"], "swarm", dry_run=True)
        taken = await untag(client, ["w2"], "docker-host", dry_run=True)

        assert said == ("make the tag swarm", "tag w1 with swarm")
        assert taken == ("take the tag docker-host from w2",)
        assert tags_of(lab, "w1") == set()
        assert tags_of(lab, "w2") == {"docker-host"}


async def test_a_tag_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path, vm("w1", tags=("docker-host", "gpu"))) as lab:
        async with admin(lab) as client:
            done = await untag(client, ["w1"], "docker-host", dry_run=False)
            again = await untag(client, ["w1"], "docker-host", dry_run=False)

        assert done == ("take the tag docker-host from w1",)
        assert again == ()
        assert tags_of(lab, "w1") == {"gpu"}


async def test_a_name_of_two_vms_is_refused_with_their_ids(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS, TWIN) as lab, admin(lab) as client:
        with pytest.raises(SelectionInvalid, match="2 VMs called twin") as caught:
            await tag(client, ["w1", "twin"], "docker-host", dry_run=False)

        assert uuid_of("twin") in caught.value.remedy
        assert tags_of(lab, "w1") == set(), "nothing is done when something is wrong"


async def test_a_vm_can_be_named_by_its_id(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS, TWIN) as lab, admin(lab) as client:
        done = await tag(client, [uuid_of("twin").upper()], "docker-host", dry_run=False)

        assert done == ("tag twin with docker-host",)
        assert tags_of(lab, uuid_of("twin")) == {"docker-host"}


@pytest.mark.parametrize("name", ["nobody", "w*", "W1", "", "w1 or name=w2", uuid_of("nobody")])
async def test_what_is_no_vm_is_refused(tmp_path: Path, name: str) -> None:
    async with running(tmp_path, *VMS) as lab, admin(lab) as client:
        with pytest.raises(SelectionInvalid):
            await tag(client, [name], "docker-host", dry_run=False)


async def test_a_reader_may_not_and_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS) as lab, lab.client() as client:
        with pytest.raises(PermissionMissing) as caught:
            await tag(client, ["w1"], "docker-host", dry_run=False)

        assert "administrator" in caught.value.remedy


async def test_an_engine_that_hangs_costs_the_time_out(tmp_path: Path) -> None:
    limits = Limits(engine_read_timeout="1s")
    async with running(tmp_path, *VMS) as lab, admin(lab, limits) as client:
        await client.access_token()
        lab.faults.availability = "starting"

        with pytest.raises(EngineUnavailable, match="timed out"):
            await tag(client, ["w1"], "docker-host", dry_run=False)
        lab.faults.reset()


async def test_an_engine_that_is_down_is_unavailable(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS) as lab, admin(lab) as client:
        await client.access_token()
        lab.faults.availability = "down"

        with pytest.raises(EngineUnavailable):
            await tag(client, ["w1"], "docker-host", dry_run=False)
        lab.faults.reset()


async def test_the_sdk_never_logs_in_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path, *VMS) as lab, admin(lab) as client:
        await client.access_token()
        lab.simulator.accounts.forget_everybody()

        with pytest.raises(EngineUnavailable, match="no longer knows the session"):
            await tag(client, ["w1"], "docker-host", dry_run=False)

        assert lab.logins == 1


async def test_certificates_are_verified_with_the_configured_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    simulator = SimulatedEngine(scenario(*VMS))
    url = await simulator.start(ssl_context=context)
    lab = Lab(simulator, url, tmp_path / "password")
    async with lab.client(username="admin@internal", ca_file=ca_file) as client:
        assert await tag(client, ["w2"], "docker-host", dry_run=False) == ()

        trustme.CA().cert_pem.write_to_path(str(ca_file))
        with pytest.raises(EngineUntrusted, match="certificate") as caught:
            await tag(client, ["w2"], "docker-host", dry_run=False)
        authority.cert_pem.write_to_path(str(ca_file))
    await simulator.stop()

    assert "pki-resource" in caught.value.remedy

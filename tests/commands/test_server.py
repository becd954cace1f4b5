"""What is said when a running controller cannot be asked, or refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from aiohttp import web

from tests.commands.controllers import Controller, run, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.commands.conftest import Ended

ZONES: dict[str, list[str]] = {"engines": [], "zones": []}


@pytest.fixture
async def controller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Controller]:
    async with serving(tmp_path, capsys) as one:
        one.answers["/v1/zones"] = ZONES
        yield one


def is_one_error(ended: Ended, *words: str, status: int = 1) -> None:
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err


# ---- who asks --------------------------------------------------------------------------------


async def test_the_token_of_a_file_says_who_asks(controller: Controller) -> None:
    ended = await controller.run("get", "zones", url=controller.url.replace("https", "HTTPS"))

    assert (ended.status, ended.out, ended.err) == (0, "No VM is selected.\n", "")
    assert controller.authorization == "Bearer s3cret"


def kubeconfig(folder: Path, **user: str) -> Path:
    file = folder / "kubeconfig"
    cluster = {"server": "https://127.0.0.1:1"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": user}],
    }
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


async def ask_as(controller: Controller, *arguments: str) -> Ended:
    """The question without a token file."""
    ca = ("--server-ca", str(controller.folder / "ca.pem"))
    return await controller.run("get", "zones", *ca, *arguments, has_token=False)


async def test_without_a_token_file_it_is_the_kubeconfigs_user(controller: Controller) -> None:
    file = kubeconfig(controller.folder, token="mine")

    ended = await ask_as(controller, "--kubeconfig", str(file))

    assert ended.status == 0
    assert controller.authorization == "Bearer mine"


async def test_a_user_with_a_certificate_only_is_told_how_to_get_a_token(
    controller: Controller,
) -> None:
    file = kubeconfig(controller.folder)

    ended = await ask_as(controller, "--kubeconfig", str(file))

    is_one_error(ended, "has no token", "client certificate", "kubectl create token", str(file))
    assert controller.requests == []


async def test_outside_a_pod_without_a_kubeconfig_it_says_how_to_get_a_token(
    controller: Controller,
) -> None:
    is_one_error(await ask_as(controller), "no token: ", "kubectl create token", "--token-file")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "no token"), (b"a b", "no token"), (b"\xff", "no text")],
)
async def test_a_token_file_that_holds_none_is_named(
    controller: Controller, content: bytes | None, words: str
) -> None:
    file = controller.folder / "strange"
    if content is not None:
        file.write_bytes(content)

    is_one_error(await ask_as(controller, "--token-file", str(file)), str(file), words)


# ---- the way there ---------------------------------------------------------------------------


async def test_a_certificate_of_an_unknown_ca_says_which_options_help(
    controller: Controller,
) -> None:
    ended = await controller.run(
        "get", "zones", "--token-file", str(controller.token_file), has_token=False
    )

    is_one_error(ended, "is not trusted", "--server-ca FILE", "--insecure-skip-tls-verify")


async def test_a_certificate_for_another_name_says_so_and_the_name_can_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path, capsys, "ccm.kube-system.svc") as controller:
        controller.answers["/v1/zones"] = ZONES

        other = await controller.run("get", "zones")
        named = await controller.run("get", "zones", "--server-name", "ccm.kube-system.svc")

    is_one_error(other, "is not trusted", "--server-name")
    assert named.status == 0


async def test_a_certificate_that_has_ended_says_what_to_renew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = datetime.now(UTC) - timedelta(days=1)
    async with serving(tmp_path, capsys, until=ended) as controller:
        is_one_error(await controller.run("get", "zones"), "expired", "server.certificate_file")


async def test_an_unchecked_certificate_gets_no_token_but_one_that_was_given_for_it(
    controller: Controller,
) -> None:
    file = kubeconfig(controller.folder, token="mine")
    insecure = ("get", "zones", "--insecure-skip-tls-verify")

    refused = await controller.run(*insecure, "--kubeconfig", str(file), has_token=False)
    given = await controller.run(
        *insecure, "--token-file", str(controller.token_file), has_token=False
    )

    is_one_error(refused, "would show your own token", "--token-file", status=2)
    assert (given.status, len(controller.requests)) == (0, 1)


async def test_nobody_there_is_said_in_the_systems_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path, capsys) as controller:
        pass

    ended = await controller.run("get", "zones")

    is_one_error(ended, "cannot connect to", "Connection refused", "port-forward")


async def test_plain_http_where_tls_is_asked_for_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path, capsys, is_plain=True) as controller:
        token = ("--token-file", str(controller.token_file))
        url = controller.url.replace("http:", "https:")

        ended = await controller.run("get", "zones", *token, url=url)

    is_one_error(ended, "does not speak TLS", "http://")


async def test_tls_where_plain_http_is_asked_for_is_named(controller: Controller) -> None:
    url = controller.url.replace("https:", "http:")

    ended = await controller.run("get", "zones", url=url, has_token=False)

    is_one_error(ended, "use https://")


async def test_without_tls_no_token_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path, capsys, is_plain=True) as controller:
        controller.answers["/v1/zones"] = ZONES

        ended = await controller.run("get", "zones", "--token-file", str(controller.token_file))

        assert (ended.status, controller.authorization) == (0, None)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--server", "http://10.0.0.1:10258"), "without TLS only this machine"),
        (("--server", "ftp://there"), "is no URL"),
        (("--server", "https://:1"), "is no URL"),
        (("--server", "https://there:port"), "is no URL"),
        (("--server", "https://[::1"), "is no URL"),
        (("--server-name", "there"), "give --server"),
        (("--insecure-skip-tls-verify",), "give --server"),
    ],
)
async def test_options_that_make_no_sense_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: str
) -> None:
    is_one_error(await run(capsys, "get", "zones", *argv), words, status=2)


async def test_a_ca_file_that_is_none_is_named(controller: Controller) -> None:
    token = controller.token_file

    for ca, words in ((token, "no certificate"), (token.with_name("none"), "No such file")):
        argv = ("--server-ca", str(ca), "--token-file", str(token))
        ended = await controller.run("get", "zones", *argv, has_token=False)
        is_one_error(ended, str(ca), words)


# ---- answers that are errors -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "members", "words"),
    [
        (401, {}, ("Some.", "The token of", "expired")),
        (403, {"detail": "You may not."}, ("You may not.", "manifests/lookup-reader.yaml")),
        (404, {"detail": "No VM has it."}, ("error: No VM has it.\n",)),
        (503, {"detail": "Not known", "retry_after": 7}, ("Not known. Try again in 7 s.",)),
        (500, {"detail": "Oh"}, ("error: Oh.\n",)),
    ],
)
async def test_a_problem_is_one_sentence_with_its_remedy(
    controller: Controller, status: int, members: dict[str, object], words: tuple[str, ...]
) -> None:
    controller.refuse("/v1/zones", status, **members)

    is_one_error(await controller.run("get", "zones"), *words)


async def test_an_ambiguous_key_lists_what_it_may_mean(controller: Controller) -> None:
    candidates = [
        {"engine": "east", "id": "1", "name": "w"},
        {"engine": "west", "id": "2", "name": "w"},
    ]
    controller.refuse("/v1/instances/w", 409, detail="2 VMs fit.", candidates=candidates)

    ended = await controller.run("get", "instance", "w")

    assert ended.status == 1
    assert ended.err == "error: 2 VMs fit. It may mean:\n  east  1  w\n  west  2  w\n"


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="hello", status=404),
        web.Response(status=302, headers={"Location": "https://elsewhere"}),
        web.Response(status=503, body=b"{", content_type="application/problem+json"),
    ],
)
async def test_another_program_that_answers_is_recognised(
    controller: Controller, answer: web.Response
) -> None:
    controller.answers["/v1/zones"] = answer

    ended = await controller.run("get", "zones")

    is_one_error(ended, f"answers {answer.status}", "another program")


async def test_an_answer_of_another_version_is_said_to_be(controller: Controller) -> None:
    controller.answers["/v1/zones"] = {"zones": "many"}

    is_one_error(await controller.run("get", "zones"), "cannot be understood", "another version")

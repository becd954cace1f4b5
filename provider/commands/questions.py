"""What is asked of the lookup API, and how a running controller is asked all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from msgspec import Struct, field

from provider.commands.server import ServerClient
from provider.commands.server_errors import ServerError
from provider.web.documents import InstanceList, NodeList

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.commands.server import Server

_PAGE = "5000"


class Question(Struct, frozen=True):
    """A GET of the lookup API: the parts of its path below `/v1`, filters, and what is answered.

    The parts are as they are meant; a provider id has slashes.
    """

    parts: tuple[str, ...]
    document: type[Any]
    filters: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path as it is sent."""
        return "/".join(("/v1", *(quote(part, safe="") for part in self.parts)))


async def ask_server(server: Server, question: Question) -> Any:
    """The document that a running controller answers; of a list all pages in one."""
    is_list = question.document in (InstanceList, NodeList)
    filters = {**question.filters, "limit": _PAGE} if is_list else question.filters
    async with ServerClient(server) as client:
        answer = await _one(client, question, filters)
        while is_list and answer.continue_:
            further = await _one(client, question, {**filters, "continue": answer.continue_})
            answer = _joined(answer, further)
    return answer


async def _one(client: ServerClient, question: Question, filters: Mapping[str, str]) -> Any:
    body = await client.get(question.path, filters)
    try:
        return msgspec.json.decode(body, type=question.document)
    except msgspec.DecodeError as error:
        message = f"the answer to {question.path} cannot be understood: {error}."
        remedy = "Is the controller of another version than this program?"
        raise ServerError(message, remedy=remedy) from error


def _joined(first: Any, further: Any) -> Any:
    """Both pages; the state of the engines is that of the newer."""
    name = "instances" if isinstance(first, InstanceList) else "nodes"
    rows = (*getattr(first, name), *getattr(further, name))
    return msgspec.structs.replace(further, **{name: rows})

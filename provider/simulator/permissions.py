"""Who may do what: accounts that the engine takes from its directory, roles, and their grants."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from provider.simulator.documents import user_document
from provider.simulator.objects import Permission, Role
from provider.simulator.replies import Fault, Missing, Page, Reply, authorize
from provider.simulator.vm_document import API, links, ref

if TYPE_CHECKING:
    from provider.simulator.apirequest import Request
    from provider.simulator.encoding import Document

# The engine's action groups, of which the API writes the number as id.
_PERMITS = {"1300": "login", "1301": "tag_management", "1304": "audit_log_management"}
_XML = "application/xml;charset=UTF-8"


def administer(request: Request, body: Document) -> Reply:
    """The answer to a POST to the users, roles or permissions of the system."""
    authorize(request.user)
    match request.path[0]:
        case "users":
            return _add_user(request, body)
        case "roles":
            return _create_role(request, body)
    return _grant(request, body)


def role_document(role: Role) -> Document:
    """A role; the engine's own cannot be changed."""
    base = f"{API}/roles/{role.id}"
    return {
        "administrative": str(role.is_administrative).lower(),
        "mutable": str(role.is_mutable).lower(),
        "name": role.name,
        "description": role.name,
        "link": links(base, ("permits",)),
        "href": base,
        "id": role.id,
    }


def permit_documents(request: Request, role_id: str) -> list[Document]:
    """The permits of a role; Missing when there is no such role."""
    role = _role(request, role_id)
    base = f"{API}/roles/{role.id}"
    return [
        _permit(number, name) | {"href": f"{base}/permits/{number}", "role": ref("roles", role.id)}
        for number, name in _PERMITS.items()
        if name in role.permits
    ]


def level_document(level: str) -> Document:
    """A cluster level: the only place that names every permit."""
    permits = [_permit(number, name) for number, name in _PERMITS.items()]
    return {"permits": {"permit": permits}, "href": f"{API}/clusterlevels/{level}", "id": level}


def _permit(number: str, name: str) -> Document:
    return {"name": name, "administrative": str(name != "login").lower(), "id": number}


def permission_document(permission: Permission) -> Document:
    """What a user may do on the whole system."""
    return {
        "role": ref("roles", permission.role.id),
        "user": ref("users", permission.user.id),
        **ref("permissions", permission.id),
    }


def _add_user(request: Request, body: Document) -> Reply:
    """The account of the directory, which the engine knows from now on."""
    domain, name = body["domain"]["name"], str(body["user_name"])
    for user in request.world.accounts:
        if user.audit_name == name and name.endswith(f"@{domain}"):
            user.is_known = True
            return request.created("user", user_document(user))
    # A bare sentence under the type that was asked for: no fault, and no XML either.
    text = f"No such user: {name} in domain {domain}"
    raise Page(400, text, content_type=_XML, is_correlated=True)


def _create_role(request: Request, body: Document) -> Reply:
    name = str(body.get("name", ""))
    permits = (body.get("permits") or {}).get("permit") or []
    numbers = [one["id"] for one in (permits if isinstance(permits, list) else [permits])]
    if not name or not numbers:
        raise Fault(400, "Role [name, permits.id] required for add", "Incomplete parameters")
    if any(role.name == name for role in request.world.roles):
        raise Fault(409, "[Cannot add Role. The role name is already in use.]")
    is_administrative = body.get("administrative") == "true"
    granted = frozenset(_PERMITS[number] for number in numbers)
    role = Role(str(uuid4()), name, granted, is_administrative, is_mutable=True)
    request.world.roles.append(role)
    return request.created("role", role_document(role))


def _grant(request: Request, body: Document) -> Reply:
    user = request.world.user(body["user"]["id"])
    role = _role(request, body["role"].get("id") or body["role"]["name"])
    permission = Permission(str(uuid4()), user, role)
    user.permissions.append(permission)
    return request.created("permission", permission_document(permission))


def _role(request: Request, key: str) -> Role:
    """The role of this id or name."""
    for role in request.world.roles:
        if key in (role.id, role.name):
            return role
    raise Missing

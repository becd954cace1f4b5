"""Which VMs are selected: as search text for the engine, and as a filter here. Pure.

The text is made so that nothing in it can widen the selection: the configured search is joined by
a blank, an "and" that the engine applies last. It always holds a `*`, as the engine keeps the
meaning of a tag search without one for a day, from before the tag existed. Clusters and data
centres are filtered here only: the engine knows no parentheses to keep an "or" of theirs together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.config import Selection
    from provider.model import Instance


def search_text(selection: Selection, page: int) -> str:
    """The search for one page, the first being 1; only meaningful together with `max`."""
    # Without the direction the engine reads "page" as part of the sort and finds nothing.
    return f"{_conditions(selection)} sortby name asc page {page}"


def search_one(selection: Selection, instance_id: str) -> str:
    """The search that finds the VM of this id only when it is selected."""
    return f"id={instance_id} and {_conditions(selection)}"


def _conditions(selection: Selection) -> str:
    text = f"tag={selection.tag} and name=*"
    return f"{text} {selection.search}" if selection.search else text


def is_selected(instance: Instance, selection: Selection) -> bool:
    """Whether tag, cluster and data centre of the instance are those that are selected.

    A tag below the selected one counts, as in the engine's search. The configured search text
    cannot be judged here.
    """
    if selection.clusters and (
        instance.cluster is None or instance.cluster.name not in selection.clusters
    ):
        return False
    if selection.data_centers and instance.data_center not in selection.data_centers:
        return False
    return carries_tag(instance, selection)


def carries_tag(instance: Instance, selection: Selection) -> bool:
    """Whether the instance carries the selected tag or one below it."""
    return any(tag.name == selection.tag for tag in instance.tags)

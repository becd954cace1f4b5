"""The engine's search language, as far as clients use it.

`name=web* and tag=docker cluster=west sortby name asc page 2`: `and` binds before `or`,
neighbours without a word between are joined by an implicit and that is applied last. A wrong
search is no error: it finds nothing. Only what fails while it runs is refused (`SearchFailed`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")

_TOKEN = re.compile(r'\s*(?:(!=|>=|<=|=|<|>)|"([^"]*)"|([^\s=!<>"]+))')
_FORBIDDEN = re.compile(r"['();]")


BAD_GRAMMAR = (
    "statementcallback; bad sql grammar [select * from (select  {table}.* from  {table}  where  "
    "{table} with tags.tag name in ('{value}') )]; nested exception is "
    "org.postgresql.util.psqlexception: error: missing from-clause entry for table "
    '"{table} with tags"'
)
BAD_UUID = (
    "statementcallback; sql [select * from (select  {table}.* from  {table}  where  {table}.vm "
    "guid = '{value}' )]; error: invalid input syntax for type uuid: \"{value}\""
)


class SearchFailed(Exception):
    """A search that the engine's database refuses; the text is the detail of the fault."""


class _Wrong(Exception):
    """A search that finds nothing because it is wrong."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """A searchable field: the texts of an object, and the words that a value may be.

    `is_row_wise` makes `!=` true when any row differs, or when there is none, as the engine's
    join does with tags; `expand` gives what a value stands for after `=`, not after `!=`.
    """

    texts: Callable[[T], Iterable[str]]
    enum: frozenset[str] | None = None
    is_case_sensitive: bool = False
    is_row_wise: bool = False
    is_uuid: bool = False
    expand: Callable[[str], frozenset[str]] | None = None
    sort_key: Callable[[T], object] | None = None


@dataclass(frozen=True)
class Table(Generic[T]):
    """A kind of object: its columns, what free text looks at, and the order without `sortby`."""

    name: str
    columns: dict[str, Column[T]]
    free_text: Callable[[T], Iterable[str]]
    order: Callable[[T], object]
    is_descending: bool = False


@dataclass(frozen=True)
class Term(Generic[T]):
    """One condition. Without a column it is free text."""

    column: Column[T] | None
    operator: str
    value: str

    def holds(self, thing: T, table: Table[T], *, is_case_sensitive: bool) -> bool:
        """Whether the object satisfies the condition."""
        if self.column is None:
            wanted = self.value.replace("*", "").lower()
            return any(wanted in text.lower() for text in table.free_text(thing))
        return self._compare(self.column, tuple(self.column.texts(thing)), is_case_sensitive)

    def _compare(self, column: Column[T], texts: tuple[str, ...], is_case_sensitive: bool) -> bool:  # noqa: FBT001 # an inner step of holds
        if column.expand and self.operator == "=":
            known = column.expand(self.value)
            hits = [text in known for text in texts]
        else:
            pattern = value_pattern(
                self.value, is_exact=column.is_case_sensitive or is_case_sensitive
            )
            hits = [pattern.fullmatch(text) is not None for text in texts]
        if self.operator == "!=":
            return not hits or (not all(hits) if column.is_row_wise else not any(hits))
        return any(hits)


@dataclass(frozen=True)
class Query(Generic[T]):
    """A parsed search: groups that must all hold, each an `or` of `and`s."""

    groups: tuple[tuple[tuple[Term[T], ...], ...], ...]
    sort: Callable[[T], object]
    is_descending: bool
    page: int

    def holds(self, thing: T, table: Table[T], *, is_case_sensitive: bool) -> bool:
        """Whether the object is found."""
        return all(
            any(
                all(t.holds(thing, table, is_case_sensitive=is_case_sensitive) for t in terms)
                for terms in group
            )
            for group in self.groups
        )


def find(
    things: Iterable[T],
    table: Table[T],
    text: str,
    max_count: int | None,
    *,
    is_case_sensitive: bool = False,
) -> list[T]:
    """What the search finds, sorted and cut to its page; SearchFailed when the engine refuses it.

    Without `max_count` a page has no end, so any page after the first is empty.
    """
    try:
        query = _Parser(table, text).query()
    except _Wrong:
        return []
    found = [t for t in things if query.holds(t, table, is_case_sensitive=is_case_sensitive)]
    found.sort(key=query.sort, reverse=query.is_descending)  # type: ignore[arg-type]
    if max_count is None:
        return found if query.page == 1 else []
    return found[(query.page - 1) * max_count : query.page * max_count]


@lru_cache
def value_pattern(value: str, *, is_exact: bool) -> re.Pattern[str]:
    """What a searched value matches: `*` is anything, everything else itself."""
    regex = ".*".join(re.escape(part) for part in value.split("*"))
    return re.compile(regex, re.DOTALL if is_exact else re.DOTALL | re.IGNORECASE)


class _Parser(Generic[T]):
    def __init__(self, table: Table[T], text: str) -> None:
        if _FORBIDDEN.search(text):
            raise _Wrong
        self._table = table
        self._tokens = _tokens(text)
        self._at = 0

    def query(self) -> Query[T]:
        groups = self._groups()
        sort, is_descending = self._sort()
        page = self._page()
        if self._peek() is not None:
            raise _Wrong
        return Query(groups, sort, is_descending, page)

    def _peek(self) -> str | None:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else None

    def _word(self) -> str | None:
        """The next token in lower case, when it is an unquoted word."""
        if self._at < len(self._tokens) and not self._tokens[self._at][1]:
            return self._tokens[self._at][0].lower()
        return None

    def _take(self) -> str:
        token = self._peek()
        if token is None:
            raise _Wrong
        self._at += 1
        return token

    def _groups(self) -> tuple[tuple[tuple[Term[T], ...], ...], ...]:
        groups: list[list[list[Term[T]]]] = []
        joint = ""
        while self._word() not in ("sortby", "page", None) or self._is_quoted():
            term = self._term()
            match joint:
                case "and":
                    groups[-1][-1].append(term)
                case "or":
                    groups[-1].append([term])
                case _:
                    groups.append([[term]])
            joint = self._joint()
        if joint:
            raise _Wrong
        _check_free_text(groups)
        return tuple(tuple(tuple(terms) for terms in group) for group in groups)

    def _is_quoted(self) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at][1]

    def _joint(self) -> str:
        word = self._word()
        if word in ("and", "or"):
            self._at += 1
            return word
        return ""

    def _term(self) -> Term[T]:
        if self._word() in ("and", "or"):
            raise _Wrong
        name = self._take()
        operator = self._peek()
        if operator not in ("=", "!=", "<", ">", "<=", ">="):
            return Term(None, "=", name)
        self._at += 1
        value = self._take()
        column = self._table.columns.get(name.lower())
        if column is None:
            return Term(None, "=", f"{name}{operator}{value}")
        if operator not in ("=", "!="):
            raise _Wrong
        self._check(name, column, value)
        return Term(column, operator, value)

    def _check(self, name: str, column: Column[T], value: str) -> None:
        if column.is_row_wise and name != name.lower():
            raise SearchFailed(BAD_GRAMMAR.format(table=self._table.name, value=value))
        if column.is_uuid and not _is_uuid(value):
            raise SearchFailed(BAD_UUID.format(table=self._table.name, value=value))
        if column.enum is not None and value.lower() not in column.enum:
            raise _Wrong

    def _sort(self) -> tuple[Callable[[T], object], bool]:
        if self._word() != "sortby":
            return self._table.order, self._table.is_descending
        self._at += 1
        column = self._table.columns.get(self._take().lower())
        if column is None:
            raise _Wrong
        texts = column.texts
        key = column.sort_key or (lambda thing: tuple(texts(thing)))
        word = self._word()
        if word in ("asc", "desc"):
            self._at += 1
            return key, word == "desc"
        if word is not None:
            raise _Wrong
        return key, False

    def _page(self) -> int:
        if self._word() != "page":
            return 1
        self._at += 1
        number = self._take()
        if not number.isdigit():
            raise _Wrong
        if int(number) == 0:
            raise SearchFailed(
                "statementcallback; sql [offset (0 -1)]: offset must not be negative"
            )
        return int(number)


def _tokens(text: str) -> list[tuple[str, bool]]:
    """Words, quoted texts (flagged) and operators."""
    tokens: list[tuple[str, bool]] = []
    at, text = 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise _Wrong
        operator, quoted, word = found.groups()
        tokens.append((quoted, True) if quoted is not None else (operator or word, False))
        at = found.end()
    return tokens


def _check_free_text(groups: Sequence[Sequence[Sequence[Term[T]]]]) -> None:
    free = [t for group in groups for terms in group for t in terms if t.column is None]
    if len(free) > 1:
        raise _Wrong


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True

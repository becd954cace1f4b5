"""A byte stream as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from provider.kube.lines import split_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


async def _chunks(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _lines(chunks: Iterable[bytes]) -> list[bytes]:
    return [line async for line in split_lines(_chunks(chunks))]


@given(st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"x", b"\n"))))
async def test_lines_do_not_depend_on_where_the_stream_is_cut(chunks: list[bytes]) -> None:
    whole = [line for line in b"".join(chunks).split(b"\n") if line]

    assert await _lines(chunks) == whole


async def test_a_line_may_be_longer_than_any_buffer() -> None:
    piece = b"a" * 65536

    lines = await _lines([piece] * 160 + [b"\nshort\n"])

    assert [len(line) for line in lines] == [160 * 65536, 5]

"""The compare-and-set of a watermark, in words every dialect shares.

In: the watermark found in the sink and the writer's fence. Out: the watermark to store, or
`FencedOut`.
"""

from __future__ import annotations

from resources.errors import FencedOut, TerminalError
from resources.sinks.contract import Fence, TargetId, Watermark


def moved_watermark(target: TargetId, found: Watermark | None, fence: Fence) -> Watermark:
    """Return the watermark after a merge or an append.

    A table that was never loaded is consistent from the start: `consistent_from` is 0.

    Raises:
        FencedOut: The watermark found is not the expected one, or a greater token moved it.
        TerminalError: `fence.new` lies before `fence.expected`.
    """
    if fence.expected is not None and fence.new < fence.expected:
        raise TerminalError(
            f"the watermark of {fence.feed} cannot go back from {fence.expected} to {fence.new}",
            where=str(target),
        )
    check_token(target, found, fence)
    seq = None if found is None else found.seq
    if seq != fence.expected:
        raise fenced_out(
            target,
            fence,
            f"the watermark of {fence.feed} is {seq}, not {fence.expected}",
        )
    return Watermark(fence.new, 0 if found is None else found.consistent_from, fence.token)


def check_token(target: TargetId, found: Watermark | None, fence: Fence) -> None:
    """Refuse a writer whose token is smaller than that of the watermark found.

    Raises:
        FencedOut: It is.
    """
    if found is not None and found.token > fence.token:
        raise fenced_out(
            target,
            fence,
            f"a writer with token {found.token} moved the watermark of {fence.feed}; "
            f"this one has {fence.token}",
        )


def fenced_out(target: TargetId, fence: Fence, message: str) -> FencedOut:
    """Return the error of a writer that lost."""
    return FencedOut(
        message,
        where=str(target),
        remedy=f"nothing was written; see which other run of {fence.feed.pipeline} writes this "
        "table, then start again: it goes on from the watermark",
    )

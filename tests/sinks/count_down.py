"""Ends a process before its n-th writing statement, for the writers that tests kill."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.contracts.left_by_kills import Calls
from tests.processes import KILLED


def count_down(calls: Calls, reads: tuple[str, ...], statements: int) -> list[int]:
    """End this process, without any clean-up, before its n-th writing statement.

    Args:
        calls: Methods that run a statement: their class and their name.
        reads: How statements begin that do not count.
        statements: n.

    Returns:
        What is left of n, kept up to date.
    """
    left = [statements]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: Any, statement: Any, *rest: Any, **more: Any) -> Any:
            head = statement[:40]
            text = head if isinstance(head, str) else bytes(head).decode("latin-1")
            left[0] -= not text.startswith(reads)
            if not left[0]:
                os._exit(KILLED)
            return call(self, statement, *rest, **more)

        return run

    for owner, name in calls:
        setattr(owner, name, counted(getattr(owner, name)))
    return left

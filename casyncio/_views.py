"""What a loop shows to those who ask for stock's private ``_ready``, ``_scheduled``, ``_selector``.

Few programs ask, so it is loaded when one does.
"""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from casyncio._loop import Loop


class QueueView(tuple[Any, ...]):
    """A snapshot of a native queue.  Whoever tries to drive the loop through it is told so."""

    __slots__ = ()

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError(
            "the queues of a casyncio loop are native: _ready and _scheduled can be read but "
            "not changed; programs that drive them (nest_asyncio and the like) need asyncio's "
            "own loop"
        )

    append = appendleft = extend = extendleft = insert = _refuse
    pop = popleft = remove = clear = rotate = reverse = sort = _refuse
    __setitem__ = __delitem__ = _refuse


class SelectorView:
    """The watched descriptors of a loop, as a selector's map shows them."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return a mapping of descriptor or file object to its SelectorKey."""
        return _SelectorMap(self._loop)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the SelectorKey of a watched descriptor; KeyError when it is not watched."""
        try:
            return self.get_map()[fileobj]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def select(self, timeout: float | None = None) -> NoReturn:
        """Refuse: only the loop itself waits for its descriptors."""
        raise RuntimeError(
            "the selector of a casyncio loop is native and cannot be driven from outside"
        )


class _SelectorMap(Mapping[Any, selectors.SelectorKey]):
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._fileobjs = loop._watched_fds()

    def __len__(self) -> int:
        return len(self._fileobjs)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._fileobjs)

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        reader, writer = self._loop._watched(fd)
        mask = (selectors.EVENT_READ if reader else 0) | (selectors.EVENT_WRITE if writer else 0)
        if not mask:
            raise KeyError(fileobj)
        return selectors.SelectorKey(self._fileobjs.get(fd, fd), fd, mask, (reader, writer))

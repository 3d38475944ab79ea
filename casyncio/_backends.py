"""Which kernel interface a loop gets, and what is said when one cannot be had."""

from __future__ import annotations

import errno
import os
from typing import Any

VARIABLE = "CASYNCIO_BACKEND"

# Why a kernel refuses what is built in, by the error that it answers with.
_REASONS = {
    errno.EPERM: "forbidden here, by a seccomp filter or the sysctl kernel.io_uring_disabled",
    errno.EACCES: "forbidden here",
    errno.ENOSYS: "this kernel has none, or lacks operations that are needed",
    errno.EINVAL: "this kernel does not know what it is asked for",
    errno.ENOMEM: "too little memory may be locked, see ulimit -l",
}


def refusal(name: str, error: OSError | MemoryError) -> OSError:
    """Return the error that says which backend cannot be had, and why."""
    number = getattr(error, "errno", None) or errno.ENOMEM
    why = _REASONS.get(number)
    text = os.strerror(number) if why is None else f"{os.strerror(number)} ({why})"
    return OSError(number, f"backend {name!r} cannot be had: {text}")


def open_native(loop: Any, wanted: str | None) -> None:
    """Open ``loop`` with the backend ``wanted``, or with the environment's when it is None.

    What the environment asks for and cannot be had is replaced by ``"auto"``: the variable is
    set for many programs at once, and all of them shall run.

    Raises ValueError for an unknown name and OSError when the kernel refuses.
    """
    name = wanted or os.environ.get(VARIABLE) or "auto"
    try:
        loop._open(name)
    except (OSError, MemoryError) as error:
        if name == "auto":
            raise
        if wanted:
            raise refusal(name, error) from None
        loop._open("auto")

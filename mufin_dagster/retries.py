"""What is tried again: a failure that may pass by itself. Never what its owner has to mend.

A lost worker, a machine or GPU whose memory others used too, a network that was away for a minute: again, after a
delay that doubles. A catalogue that breaks a rule, a limit of its own that memory met, a wrong setting, a full disk, a
bug: at once a failure, the same twice over.
"""

from __future__ import annotations

import re

import dagster as dg

from mufin_dagster import memory
from mufin_dagster.process import MAY_PASS, Ended
from mufin_dagster.settings import Automation
from mufin_dagster.versioning import VersioningError
from mufin_model.errors import MufinError

PASSING = re.compile(
    r"ConnectionError|ConnectionResetError|ConnectionRefusedError|BrokenPipeError|TimeoutError|timed? ?out"
    r"|Temporary failure in name resolution|Name or service not known|Network is unreachable|Could not connect"
    r"|Remote end closed connection|Service Unavailable|Too Many Requests|Stale file handle|Input/output error"
    r"|BlockingIOError|Resource temporarily unavailable|Unable to acquire lock"
    r"|NCCL error|CUDA error: device-side|uncorrectable ECC|CUDA-capable device\(s\) is/are busy",
    re.IGNORECASE,
)
"""Of a traceback's end or of what DVC says."""

LINES = 8
"""At the end of what a command wrote; an earlier warning that names a time-out is not why it ended."""


OF = {
    "limit": "the limit of its container",
    "machine": "its machine had none left",
    "GPU": "its GPU had none left",
    "refused": "it was refused what it asked for",
}


def policy(settings: Automation) -> dg.RetryPolicy | None:
    """How often and when a step is tried again; None where the settings want no retries."""
    if not settings.retries:
        return None
    return dg.RetryPolicy(
        max_retries=settings.retries,
        delay=settings.retry_delay,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )


def may_pass(error: MufinError) -> bool:
    """Whether an error says that it may pass, or DVC does: it could not reach its remote, or a lock was held."""
    told = "\n".join([error.what, *map(str, error.rows)])
    return error.may_pass or (isinstance(error, VersioningError) and bool(PASSING.search(told)))


def ended(cmd: str, end: Ended) -> dg.Failure:
    """Why a stage's command failed, and whether it is tried again."""
    if end.error:
        return dg.Failure(end.error, allow_retries=end.code == MAY_PASS)
    if end.memory:
        whose = OF[end.memory]
        told = f"`{cmd}` ran out of memory: {whose}\n  mend:  {memory.HINT}\nits last lines:\n{end.tail}"
        return dg.Failure(told, allow_retries=memory.AGAIN[end.memory])
    killed = -end.code if end.code < 0 else end.code - 128  # a shell tells a signal as 128 and its number
    if killed > 0:
        how = f"was killed by signal {killed}" + (": its worker went, or somebody ended it" if killed == 9 else "")
        again = True
    else:
        how = f"ended with code {end.code}"
        again = bool(PASSING.search("\n".join(end.tail.splitlines()[-LINES:])))
    return dg.Failure(f"`{cmd}` {how}; its last lines:\n{end.tail}", allow_retries=again)

"""One training over several processes: started from the environment, so that a command is the same on every machine.

    MUFIN_RANKS=4 mufin pretrain --dataset demo

MUFIN_RANKS    processes on this node; one a GPU
MUFIN_NODES    nodes, where a training has several
MUFIN_NODE     which of them this is; the first writes
MUFIN_MEET     host:port of the first one
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

RANKS, NODES, NODE, MEET = "MUFIN_RANKS", "MUFIN_NODES", "MUFIN_NODE", "MUFIN_MEET"


def first_node() -> bool:
    """Whether this is the node that writes."""
    return os.environ.get(NODE, "0") == "0"


def several() -> bool:
    """Whether a training is to be started as several processes, and this is none of them."""
    counts = (os.environ.get(RANKS, "1"), os.environ.get(NODES, "1"))
    return "RANK" not in os.environ and any(int(count) > 1 for count in counts)


def start(arguments: Sequence[str]) -> int:
    """Run `python -m mufin_model.cli ARGUMENTS` as this node's share of the processes.

    Returns:
        The exit code of the process that failed first; 128 and the signal where it was killed; 0.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    nodes = int(os.environ.get(NODES, "1"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=int(os.environ.get(RANKS, "1")),
        run_id="mufin",
        rdzv_backend="static" if nodes > 1 else "c10d",
        rdzv_endpoint=os.environ[MEET] if nodes > 1 else "localhost:0",
        rdzv_configs={"rank": int(os.environ.get(NODE, "0")), "timeout": 900},
        max_restarts=0,  # the step as a whole is tried again, from its checkpoint
    )
    try:
        elastic_launch(config, sys.executable)("-u", "-m", "mufin_model.cli", *arguments)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code
    return 0

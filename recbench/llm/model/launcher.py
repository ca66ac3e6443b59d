"""Run torchrun for the driver: `python -m recbench.llm.model.launcher ARGUMENTS OF TORCHRUN`.

It ends with the process that started it, and with the exit code of the process that failed first. A killed
process gives 128 + its signal, as in a shell, so that it is told from a failed one.
"""

from __future__ import annotations

import os
import signal
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from recbench.base.lifetime import as_parent, end_with_parent


def main(arguments: list[str]) -> int:
    end_with_parent()
    os.environ.update(as_parent(os.environ))
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the driver handles a scheduler's signal
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return 128 - failure.exitcode if failure.exitcode < 0 else failure.exitcode
    except SignalException:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Eight seeds as jobs of Slurm, by submitit. A job that is preempted or out of time is requeued and goes on inside.

    pip install submitit
    python examples/slurm.py runs/array task=sorting task.limit=100

The folder must be on a file system with locks.
"""

import os
import subprocess
import sys
import time

import submitit

MINUTES = 240
NO_MORE_THAN = 4  # jobs at once


class Run:
    """One run. The same line begins it and goes on with it."""

    def __call__(self, folder: str, *options: str) -> int:
        command = [sys.executable, "-m", "treereason", "-m", *options, f"hydra.sweep.dir={folder}"]
        self.process = subprocess.Popen(command)
        while self.process.poll() is None:
            time.sleep(1)
        return self.process.returncode

    def checkpoint(self, *arguments: str) -> submitit.helpers.DelayedSubmission:
        """Called when Slurm wants the machine back: end the run between two steps, and come again."""
        self.process.terminate()
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return submitit.helpers.DelayedSubmission(Run(), *arguments)


if __name__ == "__main__":
    root, *given = sys.argv[1:]
    executor = submitit.AutoExecutor(folder=f"{root}/jobs")  # without Slurm: processes of this machine
    executor.update_parameters(timeout_min=MINUTES, cpus_per_task=2, slurm_array_parallelism=NO_MORE_THAN)
    with executor.batch():
        jobs = [executor.submit(Run(), f"{root}/{seed}", *given, f"seed={seed}") for seed in range(8)]
    for job in jobs:
        print(job.job_id, "ended with exit code", job.result())

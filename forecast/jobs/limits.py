"""What the operator allows of jobs: how many, how long, how large."""

from pydantic import Field

from forecast.core.fields import Seconds, SettingsGroup


class JobLimits(SettingsGroup):
    """How many jobs run and wait, what a job may take, when a worker counts as dead."""

    workers: int = Field(
        1, ge=0, le=64, description="Workers that the gateway starts; 0 where they run elsewhere."
    )
    worker_lost_s: Seconds = Field(
        20.0, description="A worker unheard of for so long is dead; others take up its jobs."
    )
    training_jobs: int = Field(1, ge=1, le=64, description="Jobs that run at a time, each worker.")
    training_queue: int = Field(16, ge=0, le=10_000, description="Jobs that may wait; then 429.")
    training_limit_s: float = Field(
        86_400.0, gt=0, le=31_536_000, description="Longest that a job may run."
    )
    training_memory_bytes: int = Field(
        0,
        ge=0,
        le=2**50,
        description="Most memory of a training's processes; 0 for nine tenths of the machine's.",
    )
    training_threads: int = Field(
        0, ge=0, le=1024, description="Threads of a training; 0 for one a core."
    )
    training_cancel_s: Seconds = Field(
        10.0, description="How long a cancelled training may take to end by itself."
    )
    training_attempts: int = Field(
        5, ge=1, le=1000, description="Times that a job is taken up again after its worker died."
    )
    jobs_kept: int = Field(1000, ge=1, le=100_000, description="Jobs that are over and remembered.")

    @property
    def at_once(self) -> int:
        """Jobs that all workers of a gateway run at a time, before others are known of."""
        return self.training_jobs * max(1, self.workers)

    @property
    def beat_s(self) -> float:
        """Pause between two signs of life of a worker."""
        return self.worker_lost_s / 8

    @property
    def gives_up_s(self) -> float:
        """Without a sign of life for so long a worker ends, well before others take over."""
        return 0.7 * self.worker_lost_s

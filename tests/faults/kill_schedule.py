"""Kills of actors, nodes and drivers at moments drawn from a seed, on a cluster of two nodes of two engines each."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fault_kit import WAIT_S, Faults, Job, add_node, alive, descendants
from fault_table import Try, UnitKey

Victim = Literal["actor", "node", "driver"]
VICTIMS: Sequence[Victim] = ("actor", "actor", "actor", "actor", "node", "driver")
NODE = {"num_cpus": 1, "num_gpus": 2}
NODES = 2
ENGINES = 4
POST_S = 0.2
"""Seconds that an engine takes for a post while kills are to come, so that they find it at work."""


@dataclass(frozen=True)
class Kill:
    """One kill of a schedule.

    Attributes:
        victim: What is killed.
        after_units: It strikes when so many more units are durable than at the last kill, and
        delay_s: so many seconds later.
        away_s: A node is replaced, and a driver started again, after so long.
        draw: Chooses among the engines that are at work, from 0 to 1.
    """

    victim: Victim
    after_units: int
    delay_s: float
    away_s: float
    draw: float


def draw_kills(seed: int, count: int) -> Iterator[Kill]:
    """Yield the kills of a schedule; the first ones hold every kind."""
    generator = random.Random(seed)
    kinds = generator.sample(("actor", "node", "driver"), 3)
    for number in range(count):
        victim = kinds[number] if number < len(kinds) else generator.choice(VICTIMS)
        # A node that stays away for long leaves the run to the others.
        away_s = generator.choice((0.0, generator.uniform(0, 3), 8.0)) if victim == "node" else generator.uniform(0, 1)
        yield Kill(victim, generator.randint(1, 4), generator.uniform(0, 0.5), away_s, generator.random())


@dataclass
class KilledRun:
    """A run that is disturbed until it is complete.

    Attributes:
        cluster: The cluster; its head holds no engine.
        job: The job of the run.
        faults: Knows the engines' processes.
        struck: Units in flight that each kill hit.
    """

    cluster: Any
    job: Job
    faults: Faults
    struck: list[tuple[Victim, set[UnitKey]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._nodes_due: list[float] = []
        self._durable_at_kill = 0
        self._deadline = time.monotonic() + WAIT_S

    def complete(self, kills: list[Kill]) -> None:
        """Run the job to its end; take kills off the list while there are any."""
        process = self.job.start()
        self.faults.set("delay_s", POST_S)
        while process.poll() is None or process.returncode != 0:
            assert process.poll() is None, f"the job ended with {process.returncode}:\n{self.job.said}"
            assert time.monotonic() < self._deadline, f"nothing for {WAIT_S} s:\n{self.job.said}"
            self._bring_nodes_back()
            if kills and len(self.job.files.units()) >= self._durable_at_kill + kills[0].after_units:
                time.sleep(kills[0].delay_s)
                process = self._strike(kills, process)
                self._deadline = time.monotonic() + WAIT_S
                if not kills:
                    self.faults.set("delay_s", 0)
            time.sleep(0.05)
        self._bring_nodes_back(everyone=True)

    def _at_work(self) -> list[Try]:
        """Return what engines are being asked now."""
        in_flight = self.job.files.in_flight()
        return [one for one in self.job.files.tries() if one.unit in in_flight and alive(one.pid)]

    def _strike(self, kills: list[Kill], process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Do the next kill, if there is work for it to hit; return the process of the job."""
        at_work = self._at_work()
        if not at_work or process.poll() is not None:
            return process
        kill = kills[0]
        chosen = at_work[int(kill.draw * len(at_work))]
        if kill.victim == "actor":
            victims = {chosen.pid}
            os.kill(chosen.pid, signal.SIGKILL)
        elif kill.victim == "node":
            victims = self._kill_node(chosen, kill)
        else:
            victims = _workers(self.cluster.worker_nodes)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._wait_for_end(victims)
        hit = self.job.files.in_flight(victims)
        if hit:  # else all was durable just before the kill, which then does not count
            self.struck.append((kill.victim, hit))
            kills.pop(0)
        self._durable_at_kill = len(self.job.files.units())
        if kill.victim != "driver":
            return process
        time.sleep(kill.away_s)
        return self.job.start()

    def _kill_node(self, chosen: Try, kill: Kill) -> set[int]:
        node_id = chosen.place.rpartition(".")[2]
        (node,) = [one for one in self.cluster.worker_nodes if one.node_id.startswith(node_id)]
        victims = _workers([node])
        self.cluster.remove_node(node, allow_graceful=False)
        self._nodes_due.append(time.monotonic() + kill.away_s)
        return victims

    def _wait_for_end(self, victims: set[int]) -> None:
        deadline = time.monotonic() + WAIT_S
        while outlived := {pid for pid in self.faults.engines() if pid in victims and alive(pid)}:
            assert time.monotonic() < deadline, f"engines outlive what they belong to: {outlived}"
            time.sleep(0.02)

    def _bring_nodes_back(self, *, everyone: bool = False) -> None:
        """Add the nodes whose time has come; all where no node with an engine is left."""
        now = time.monotonic()
        due = [at for at in self._nodes_due if everyone or at <= now or len(self._nodes_due) == NODES]
        for at in due:
            add_node(self.cluster, **NODE)
            self._nodes_due.remove(at)


def _workers(nodes: Iterable[Any]) -> set[int]:
    """Return the workers of nodes: each may be an engine, also one that is about to be asked its first unit."""
    raylets = [dict(node.live_processes())["raylet"].pid for node in nodes]
    return {pid for raylet in raylets for pid, _ in descendants(raylet)}

"""mmsoc_ray against lm-evaluation-harness and lmms-eval: the same checkpoint, pictures, prompts, type and limits.

    python benchmarks/peers.py                        # 200 pictures x 5 tasks; a quarter of an hour on two cores
    python benchmarks/peers.py --posts 8 --kill-posts 8 --peers lm_eval

The model is the demo's LLaVA (157 M parameters). Each peer is installed from pinned packages into an environment of its
own below the cache folder, at the first call. A tool is started as its users do; counted are the seconds from its
start to the last durable answer, beside them those of its own loop, the peak memory of all its processes, and the
answers that are the same as those of the others. Then it does a smaller job twice: once killed (SIGKILL to all its
processes) when it has 60 % of the answers, once more to the end with what it has for resuming.

lmms-eval answers one request at a time (its LLaVA wrapper refuses larger batches), so it is given fewer pictures.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from machine import machine_line  # noqa: E402
from peer_data import MAX_NEW_TOKENS, write_data  # noqa: E402
from peer_process import Ended, run_tool  # noqa: E402
from peer_tools import Answers, LmEval, LmmsEval, MmsocRay, Tool, Work  # noqa: E402

KILL_AT = 0.6
PEERS = {"lm_eval": LmEval(), "lmms_eval": LmmsEval()}
LIMIT_S = 3600.0


@dataclass(frozen=True)
class Measured:
    """One whole job of one tool."""

    tool: Tool
    requests: int
    seconds: float
    loop_s: float
    ended: Ended
    answers: Answers

    @property
    def rate(self) -> float:
        """Answers a second, from the start of the process to the last durable answer."""
        return len(self.answers.outputs) / self.seconds

    @property
    def per_cpu_s(self) -> float:
        """Answers a second of a core, start and end of the process included."""
        return len(self.answers.outputs) / self.ended.cpu_s

    @property
    def loop_rate(self) -> float:
        """Answers a second of the tool's own loop."""
        return len(self.answers.outputs) / self.loop_s if self.loop_s else float("nan")


def measure(tool: Tool, work: Work) -> Measured | None:
    """Do a whole job; None where the tool ends without all answers, after printing what it said."""
    log = _log(work, 0)
    ended = run_tool(tool.command(work), log, environment=tool.environment, limit_s=LIMIT_S)
    answers = tool.answers(work)
    requests = len(work.data.prompts)
    if len(answers.outputs) < requests:
        print(f"{tool.name}: {len(answers.outputs)} of {requests} answers, status {ended.status}. It said:")
        print("\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-8:]), flush=True)
        return None
    found = Measured(tool, requests, answers.written - ended.started, tool.loop_s(work, log), ended, answers)
    print(
        f"{tool.name:<30} {requests:>5} requests {found.seconds:7.1f} s to the last durable answer, {found.rate:5.2f} "
        f"a second ({found.loop_rate:5.2f} in its loop), ended after {ended.seconds:.1f} s and "
        f"{ended.cpu_s:.1f} s of a core; peak memory "
        f"{ended.rss / 2**30:.2f} GiB resident, {ended.pss / 2**30:.2f} GiB with shared pages counted once",
        flush=True,
    )
    return found


def kill_and_resume(tool: Tool, work: Work) -> None:
    """Kill a job when it has 60 % of its answers, call it again, and print what that cost."""
    requests = len(work.data.prompts)
    wanted = KILL_AT * requests
    logs = [_log(work, 0), _log(work, 1)]
    killed = run_tool(
        tool.command(work),
        logs[0],
        environment=tool.environment,
        kill_when=lambda: tool.answered(work, logs[0]) >= wanted,
        limit_s=LIMIT_S,
    )
    had, durable = tool.answered(work, logs[0]), len(tool.answers(work).outputs)
    again = run_tool(tool.command(work), logs[1], environment=tool.environment, limit_s=LIMIT_S)
    answers = tool.answers(work)
    print(
        f"{tool.name:<30} killed after {killed.seconds:.1f} s with {had} of {requests} answers, {durable} of them "
        f"durable; second call {again.seconds:.1f} s, status {again.status}: {tool.asked(work, logs) - requests} "
        f"recomputed, {requests - len(answers.outputs)} lost, {answers.duplicated} duplicated",
        flush=True,
    )


def compare(found: list[Measured]) -> None:
    """Print how many answers of each two tools are the same, and the ratios to this project."""
    for one, other in itertools.combinations(found, 2):
        shared = one.answers.outputs.keys() & other.answers.outputs.keys()
        same = sum(one.answers.outputs[key].strip() == other.answers.outputs[key].strip() for key in shared)
        print(f"{same} of {len(shared)} answers of {one.tool.name} and {other.tool.name} are the same")
    for ours, peer in itertools.product(found, found):
        if not isinstance(ours.tool, MmsocRay) or isinstance(peer.tool, MmsocRay):
            continue
        print(
            f"ratio {ours.tool.name} / {peer.tool.name}: {ours.rate / peer.rate:.2f} in answers a second from start to "
            f"durable, {ours.loop_rate / peer.loop_rate:.2f} in the loop, "
            f"{ours.per_cpu_s / peer.per_cpu_s:.2f} in answers a second of a core, "
            f"{ours.ended.rss / peer.ended.rss:.2f} in "
            f"resident memory, {ours.ended.pss / peer.ended.pss:.2f} with shared pages counted once"
        )


def check_prompts(work: Work) -> None:
    """Print whether lm-eval's model read the very prompts that this project renders."""
    from mmsoc_ray.engines.checkpoint import load_wrapper
    from mmsoc_ray.models.own import own_entry

    wrapper = load_wrapper(work.data.checkpoint, own_entry("llava", str(work.data.checkpoint)))
    theirs = LmEval().framed_prompts(work)
    same = sum(wrapper.wrap(["", work.data.prompts[key]]) == prompt for key, prompt in theirs.items())
    print(f"{same} of {len(theirs)} prompts in the model's frame are the same, to the letter")


def _log(work: Work, number: int) -> Path:
    work.folder.mkdir(parents=True, exist_ok=True)
    return work.folder / f"log-{number}.txt"


def installed(names: list[str]) -> list[Tool]:
    """Return the tools that are there, this project first; one that pip cannot install is named."""
    tools: list[Tool] = [MmsocRay(2), MmsocRay(1)]
    for name in names:
        try:
            PEERS[name].install()
            tools.append(PEERS[name])
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{name} could not be installed: {error}", flush=True)
    return tools


def main() -> int:
    """Measure every tool, compare, kill every tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=200, help="pictures, five questions each")
    parser.add_argument("--kill-posts", type=int, default=60, help="pictures of the job that is killed; 0 kills none")
    parser.add_argument("--lmms-posts", type=int, default=12, help="pictures that lmms-eval is given, in both jobs")
    parser.add_argument("--peers", default=",".join(PEERS), help="which peers, joined by commas")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of all tools' weights")
    options = parser.parse_args()
    unknown = [name for name in options.peers.split(",") if name and name not in PEERS]
    if unknown:
        parser.error(f"--peers {unknown[0]!r} is none of {', '.join(PEERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no tool outlives this process
    print(machine_line(), flush=True)
    print(f"{options.posts} pictures x {len(MAX_NEW_TOKENS)} tasks, {options.dtype}, limits {dict(MAX_NEW_TOKENS)}")
    tools = installed([name for name in options.peers.split(",") if name])
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)

        def work(tool: Tool, job: str, posts: int) -> Work:
            posts = min(posts, options.lmms_posts) if isinstance(tool, LmmsEval) else posts
            data = write_data(folder / f"{job}-{tools.index(tool)}", posts)
            return Work(data, options.dtype, data.folder / "work")

        works = {tool.name: work(tool, "whole", options.posts) for tool in tools}
        found = [measured for tool in tools if (measured := measure(tool, works[tool.name])) is not None]
        if LmEval().name in works:
            check_prompts(works[LmEval().name])
        compare(found)
        for tool in [tools[0], *tools[2:]]:
            if options.kill_posts and any(measured.tool is tool for measured in found):
                kill_and_resume(tool, work(tool, "killed", options.kill_posts))
    print(machine_line())
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())

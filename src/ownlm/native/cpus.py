"""How many CPUs this process may use: affinity and cgroup quotas, both versions. Linux; elsewhere affinity alone.

A quota of 1.5 CPUs counts as 1: a second thread would be stopped for half of the time, and the first would wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cpus(root: Path = Path("/")) -> int:
    """CPUs allowed to this process, at least 1. ``root`` is where /proc and /sys lie (tests make their own)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cpus, *(int(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Quotas in CPUs of this process's cgroups and all their parents: each of them binds."""
    mounts = _mounts(root)
    for line in _lines(root / "proc/self/cgroup"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        unified = hierarchy == "0" and not controllers
        kind = "" if unified else "cpu"
        if not unified and "cpu" not in controllers.split(","):
            continue
        for mounted, mount in mounts.get(kind, []):
            # In a container the mount may show only a part of the tree, of which `mounted` is the top.
            relative = PurePosixPath(path)
            relative = relative.relative_to(mounted) if relative.is_relative_to(mounted) else PurePosixPath()
            folder = root / mount.lstrip("/")
            for part in [PurePosixPath(), *reversed(relative.parents), relative]:
                quota = _quota(folder / str(part).lstrip("/"), unified)
                if quota is not None:
                    yield quota


def _mounts(root: Path) -> dict[str, list[tuple[str, str]]]:
    """(top, mount point) of cgroup v2 under "" and of the v1 cpu controller under "cpu"; see proc_pid_mountinfo(5)."""
    mounts: dict[str, list[tuple[str, str]]] = {}
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2":
            mounts.setdefault("", []).append((fields[3], fields[4]))
        elif kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            mounts.setdefault("cpu", []).append((fields[3], fields[4]))
    return mounts


def _quota(folder: Path, unified: bool) -> float | None:
    if unified:
        fields = " ".join(_lines(folder / "cpu.max")).split()
    else:
        fields = [*_lines(folder / "cpu.cfs_quota_us")[:1], *_lines(folder / "cpu.cfs_period_us")[:1]]
    try:
        quota, period = (int(field) for field in fields)
    except ValueError:  # "max", a file that is not there, or one of another form: no limit known
        return None
    return quota / period if quota > 0 and period > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []

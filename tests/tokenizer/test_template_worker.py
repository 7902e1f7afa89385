"""Templates that raise, loop, hoard memory or try to get out: an error for the user, and the next one renders."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from ownlm.errors import InvalidSetting, TemplateError
from ownlm.tokenizer.template_pool import Job, Limits, TemplatePool

needs_rlimit = pytest.mark.skipif(sys.platform != "linux", reason="memory and CPU limits are enforced on Linux")
MIB = 1 << 20


@pytest.fixture(scope="module")
def pool() -> Iterator[TemplatePool]:
    made = TemplatePool(Limits(seconds=3, cpu_seconds=1, memory_bytes=256 * MIB, text_bytes=4 * MIB))
    yield made
    made.close()


def render(pool: TemplatePool, template: str, **variables: object) -> str:
    (found,) = pool.render(template, [Job(variables)])
    if isinstance(found, TemplateError):
        raise found
    return found


def goes_on(pool: TemplatePool) -> bool:
    return render(pool, "{{ x }}!", x="next") == "next!"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('no system role') }}", "failed: no system role"),
        ("{% if %}", r"line 1"),
        ("{{ x.y.z }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ dict.__class__() }}", "SecurityError"),
        ("{{ raise_exception.__globals__.items() }}", "SecurityError"),
        ("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "SecurityError|Syntax"),
        ("{% set ns = namespace(_x=1) %}", "SecurityError"),
        ("{{ [].append(1) }}", "SecurityError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ range(1000000000) | list }}", "OverflowError"),
        ("{% include 'etc/passwd' %}", "TypeError|no loader"),
    ],
)
def test_a_template_that_fails(pool: TemplatePool, template: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        render(pool, template)
    assert goes_on(pool)


LOOP = "".join(f"{{% for {name} in range(99999) %}}" for name in "abc") + "{% endfor %}" * 3


@needs_rlimit
def test_a_template_that_loops_is_ended(pool: TemplatePool) -> None:
    started = time.monotonic()
    with pytest.raises(TemplateError, match="loop for ever"):
        render(pool, LOOP)
    assert time.monotonic() - started < 10
    assert goes_on(pool)


def test_the_clock_ends_what_computes_little() -> None:
    slow = TemplatePool(Limits(seconds=0.5, cpu_seconds=60))
    with pytest.raises(TemplateError, match=r"longer than 0\.5 s"):
        render(slow, LOOP)
    assert slow._idle.workers == ()
    slow.close()


@needs_rlimit
@pytest.mark.parametrize("template", ["{{ 'a' * 999999999 }}", "{% set x = 'a' * 9999999 %}" + "{{ x ~ x ~ x }}" * 30])
def test_memory_is_limited(pool: TemplatePool, template: str) -> None:
    with pytest.raises(TemplateError, match=r"memory|message of"):
        render(pool, template)
    assert goes_on(pool)


def test_sizes_are_limited(pool: TemplatePool) -> None:
    with pytest.raises(TemplateError, match="message of"):
        render(pool, "{{ 'a' * 5000000 }}")
    assert goes_on(pool)
    small = TemplatePool(Limits(template_bytes=10, request_bytes=1000))
    with pytest.raises(TemplateError, match="more than 10"):
        render(small, "x" * 11)
    with pytest.raises(TemplateError, match="at most 1000"):
        render(small, "x", y="z" * 1000)
    with pytest.raises(InvalidSetting, match="plain JSON"):
        render(small, "x", y={1, 2})
    with pytest.raises(InvalidSetting, match="above 0"):
        Limits(seconds=0)


def test_other_jobs_of_a_request_go_on(pool: TemplatePool) -> None:
    first, second = pool.render("{{ 1 / x }}", [Job({"x": 0}), Job({"x": 1})])
    assert isinstance(first, TemplateError)
    assert second == "1.0"


def test_nothing_of_the_user_is_seen(pool: TemplatePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNLM_API_KEY", "secret")
    assert "secret" not in render(pool, "{{ strftime_now('%Y') }}{{ self }}{{ dict(a=1) | tojson }}")


def test_one_warm_worker_serves_many_and_threads_share(pool: TemplatePool) -> None:
    goes_on(pool)
    process = pool._idle.workers[-1]
    times = []
    for _ in range(100):
        started = time.perf_counter()
        goes_on(pool)
        times.append(time.perf_counter() - started)
    assert pool._idle.workers[-1] is process
    assert min(times) < 0.005
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(goes_on(pool))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert len(pool._idle.workers) <= 2


def test_a_worker_killed_at_rest_is_replaced(pool: TemplatePool) -> None:
    goes_on(pool)
    process = pool._idle.workers[-1]._process
    process.kill()
    process.wait()
    assert goes_on(pool)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_a_fork_the_child_starts_its_own(pool: TemplatePool) -> None:
    goes_on(pool)
    child = os.fork()
    if child == 0:
        os._exit(0 if goes_on(pool) and goes_on(pool) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert goes_on(pool)

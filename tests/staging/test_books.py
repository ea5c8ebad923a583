"""The books: atomic steps that may be repeated, results that survive crashes, and runs that survive a flush."""

import itertools
import random
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orbresearch.errors import InputsMissing, Unreachable
from orbresearch.staging import (
    Counts,
    acknowledge,
    acquire_lease,
    books,
    chunk_states,
    complete_chunk,
    connect,
    counts,
    keys,
    load_spec,
    note_chunk,
    open_run,
    read_staged,
    release_lease,
    renew_lease,
    retire_run,
    staged_count,
)
from tests.servers_redis import fresh_redis, fresh_staging

U, R = "a-store", "a-run"


def plan(chunks, rows=10):
    return [(first * rows, rows) for first in range(chunks)]


def opened(staging, chunks=3, uuid=U, run_id=R):
    open_run(staging, uuid, run_id, b"spec", chunks * 10, {}, plan(chunks))


def snapshot(staging):
    """Everything the books hold, by key."""
    client, found = staging.books, {}
    for key in client.keys(f"orb:{U}:*"):
        kind = client.type(key)
        read = {b"hash": client.hgetall, b"set": client.smembers, b"stream": client.xrange}[kind]
        found[key] = read(key)
    return found


def test_a_chunk_goes_from_submitted_over_staged_to_persisted(staging):
    opened(staging)
    assert load_spec(staging, U, R) == b"spec"
    assert counts(staging, U, R) == Counts(30, 0, 0, 0, 0)
    assert chunk_states(staging, U, R) == {0: "submitted", 10: "submitted", 20: "submitted"}
    assert complete_chunk(staging, U, R, 10, 10, b"payload")
    assert counts(staging, U, R) == Counts(30, 10, 10, 0, 7)
    assert counts(staging, U, R).queued == 20
    assert chunk_states(staging, U, R)[10] == "staged"
    (staged,) = read_staged(staging, U, "one", 10)
    assert (staged.run_id, staged.first, staged.rows, staged.payload) == (R, 10, 10, b"payload")
    assert staged_count(staging, U) == 1
    acknowledge(staging, U, staged)
    assert staged_count(staging, U) == 0
    assert counts(staging, U, R) == Counts(30, 10, 0, 10, 0)
    assert chunk_states(staging, U, R)[10] == "persisted"


def test_a_chunk_that_runs_or_fails_is_noted_until_it_is_staged(staging):
    opened(staging)
    for state in ("running", "failed", "running"):
        assert note_chunk(staging, U, R, 10, 10, state)
        assert chunk_states(staging, U, R) == {0: "submitted", 10: state, 20: "submitted"}
    assert counts(staging, U, R) == Counts(30, 0, 0, 0, 0)
    assert complete_chunk(staging, U, R, 10, 10, b"payload")
    assert not note_chunk(staging, U, R, 10, 10, "running")  # a slow twin of the one that was faster
    (staged,) = read_staged(staging, U, "one", 10)
    acknowledge(staging, U, staged)
    assert not note_chunk(staging, U, R, 10, 10, "failed")
    assert chunk_states(staging, U, R)[10] == "persisted"


def test_the_books_know_when(staging):
    before = int(time.time())
    opened(staging)
    found = counts(staging, U, R)
    assert before - 1 <= found.opened_at <= time.time() + 1
    assert (found.staged_at, found.persisted_at) == (0, 0)
    complete_chunk(staging, U, R, 10, 10, b"payload")
    acknowledge(staging, U, read_staged(staging, U, "one", 10)[0])
    found = counts(staging, U, R)
    assert found.opened_at <= found.staged_at <= found.persisted_at <= time.time() + 1


def test_books_of_a_finished_run_go_in_a_week_unless_it_is_opened_again(staging):
    opened(staging)
    complete_chunk(staging, U, R, 10, 10, b"payload")
    retire_run(staging, U, R)
    hashes = [f"orb:{U}:run:{R}", f"orb:{U}:run:{R}:chunks"]
    assert all(600_000 < staging.books.ttl(name) <= 7 * 86_400 for name in hashes)
    assert staging.books.smembers(f"orb:{U}:runs") == set()
    opened(staging)
    assert [staging.books.ttl(name) for name in hashes] == [-1, -1]
    assert staging.books.smembers(f"orb:{U}:runs") == {R.encode()}
    assert chunk_states(staging, U, R)[10] == "staged"


def test_a_second_completion_changes_nothing(staging):
    opened(staging)
    complete_chunk(staging, U, R, 0, 10, b"payload")
    before = snapshot(staging)
    assert not complete_chunk(staging, U, R, 0, 10, b"other payload")
    assert snapshot(staging) == before
    acknowledge(staging, U, *read_staged(staging, U, "one", 1))
    before = snapshot(staging)
    assert not complete_chunk(staging, U, R, 0, 10, b"payload")
    assert snapshot(staging) == before


def test_a_second_acknowledgement_changes_nothing(staging):
    opened(staging)
    complete_chunk(staging, U, R, 0, 10, b"payload")
    (staged,) = read_staged(staging, U, "one", 1)
    acknowledge(staging, U, staged)
    before = snapshot(staging)
    acknowledge(staging, U, staged)
    assert snapshot(staging) == before
    assert staging.books.xpending(keys.stream(U), keys.GROUP)["pending"] == 0


def test_what_a_dead_consumer_has_read_is_read_by_the_next(staging):
    opened(staging, 5)
    for first in range(0, 50, 10):
        complete_chunk(staging, U, R, first, 10, b"%d" % first)
    assert [staged.first for staged in read_staged(staging, U, "dead", 2)] == [0, 10]
    assert [staged.first for staged in read_staged(staging, U, "next", 3)] == [0, 10, 20]
    found = read_staged(staging, U, "last", 100)
    assert [(staged.first, staged.payload) for staged in found] == [(n, b"%d" % n) for n in range(0, 50, 10)]
    for staged in found:
        acknowledge(staging, U, staged)
    assert read_staged(staging, U, "next", 100) == []
    assert counts(staging, U, R) == Counts(50, 50, 0, 50, 0)


CRASH = """
import os, signal, sys
from orbresearch.settings import RedisSettings
from orbresearch.staging import connect, read_staged
port, password = sys.stdin.read().split()
staging = connect(RedisSettings("127.0.0.1", int(port), password))
assert len(read_staged(staging, "a-store", "dead", 2)) == 2
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_has_read_is_read_by_the_next(server, staging):
    opened(staging)
    for first in (0, 10):
        complete_chunk(staging, U, R, first, 10, b"x")
    secret = f"{server.settings.port} {server.settings.password}"
    assert subprocess.run([sys.executable, "-c", CRASH], input=secret, text=True).returncode < 0
    assert [staged.first for staged in read_staged(staging, U, "next", 9)] == [0, 10]


def test_a_deleted_entry_that_was_pending_hides_nothing(staging):
    opened(staging)
    for first in (0, 10, 20):
        complete_chunk(staging, U, R, first, 10, b"x")
    first, *_ = read_staged(staging, U, "dead", 2)
    staging.books.xdel(keys.stream(U), first.entry_id)
    assert [staged.first for staged in read_staged(staging, U, "next", 9)] == [10, 20]


def test_reading_is_bounded_in_bytes_and_yet_reaches_everything(staging, monkeypatch):
    monkeypatch.setattr(books, "_READ_BYTES", 1000)
    opened(staging, 30)
    for n, first in enumerate(range(0, 300, 10)):
        complete_chunk(staging, U, R, first, 10, b"x" * (5000 if n == 7 else 100 + n))
    seen = []
    while found := read_staged(staging, U, "one", 20):
        assert len(found) == 1 or sum(len(staged.payload) for staged in found) <= 6000
        seen += [staged.first for staged in found]
        for staged in found:
            acknowledge(staging, U, staged)
    assert seen == list(range(0, 300, 10))


def test_a_flush_in_the_middle_loses_the_books_but_no_later_result(staging):
    opened(staging)
    complete_chunk(staging, U, R, 0, 10, b"lost")
    (lost,) = read_staged(staging, U, "one", 1)
    staging.books.flushall()
    with pytest.raises(InputsMissing, match=f"run {R}"):
        load_spec(staging, U, R)
    acknowledge(staging, U, lost)
    assert counts(staging, U) == Counts(0, 0, 0, 0, 0)
    assert staging.books.dbsize() == 0
    assert complete_chunk(staging, U, R, 10, 10, b"kept")
    assert not complete_chunk(staging, U, R, 10, 10, b"kept")
    assert counts(staging, U) == Counts(0, 10, 10, 0, 4)
    assert counts(staging, U).queued == 0
    (kept,) = read_staged(staging, U, "one", 9)
    assert (kept.run_id, kept.first, kept.payload) == (R, 10, b"kept")
    open_run(staging, U, R, b"spec", 30, {0: 10}, [(10, 10), (20, 10)])
    assert counts(staging, U, R) == Counts(30, 20, 10, 10, 4)
    acknowledge(staging, U, kept)
    assert counts(staging, U, R) == Counts(30, 20, 0, 20, 0)


def test_a_flush_between_two_reads_only_means_that_nothing_is_there(staging):
    opened(staging)
    complete_chunk(staging, U, R, 0, 10, b"x")
    assert len(read_staged(staging, U, "one", 1)) == 1
    staging.books.flushall()
    staging.books.script_flush()
    assert read_staged(staging, U, "one", 1) == []
    assert complete_chunk(staging, U, R, 0, 10, b"x")
    assert len(read_staged(staging, U, "one", 1)) == 1


def test_opening_a_run_again_keeps_what_is_on_the_stream(staging):
    opened(staging, 4)
    for first in (0, 10, 20):
        complete_chunk(staging, U, R, first, 10, b"123")
    acknowledge(staging, U, *read_staged(staging, U, "one", 1))
    found = open_run(staging, U, R, b"new spec", 40, {0: 10}, [(10, 10), (20, 10), (30, 10)])
    assert found == [10, 20]
    assert load_spec(staging, U, R) == b"new spec"
    assert chunk_states(staging, U, R) == {0: "persisted", 10: "staged", 20: "staged", 30: "submitted"}
    assert counts(staging, U, R) == Counts(40, 30, 20, 10, 6)


def test_opening_a_run_believes_the_ledger_rather_than_the_books(staging):
    opened(staging, 4)
    for first in (0, 10, 20):
        complete_chunk(staging, U, R, first, 10, b"123")
    acknowledge(staging, U, *read_staged(staging, U, "one", 1))
    staging.books.xtrim(keys.stream(U), 1, approximate=False)  # somebody took the entry of 10 away
    assert open_run(staging, U, R, b"spec", 40, {20: 10}, [(0, 10), (10, 10), (30, 10)]) == []
    assert chunk_states(staging, U, R) == {0: "submitted", 10: "submitted", 20: "persisted", 30: "submitted"}
    assert counts(staging, U, R) == Counts(40, 10, 0, 10, 0)
    for staged in read_staged(staging, U, "two", 9):  # committed before a crash, not acknowledged
        acknowledge(staging, U, staged)
    assert counts(staging, U, R) == Counts(40, 10, 0, 10, 0)
    assert staged_count(staging, U) == 0


def test_opening_a_run_twice_is_opening_it_once(staging):
    opened(staging)
    complete_chunk(staging, U, R, 0, 10, b"x")
    before = snapshot(staging)
    opened(staging)
    assert snapshot(staging) == before


def test_a_run_of_many_chunks_is_opened_in_one_step(staging):
    half = dict.fromkeys(range(0, 3_000_000, 100), 100)
    rest = [(first, 100) for first in range(3_000_000, 6_000_000, 100)]
    open_run(staging, U, R, b"", 6_000_000, half, rest)
    assert counts(staging, U, R) == Counts(6_000_000, 3_000_000, 0, 3_000_000, 0)
    assert len(chunk_states(staging, U, R)) == 60_000


def test_numbers_beyond_single_precision_stay_whole(staging):
    first, rows = 10**15 + 1, 2**40 + 1
    open_run(staging, U, R, b"", 2**50 + 1, {first: rows}, [(first + rows, rows)])
    complete_chunk(staging, U, R, first + rows, rows, b"x")
    assert chunk_states(staging, U, R) == {first: "persisted", first + rows: "staged"}
    assert open_run(staging, U, R, b"", 2**50 + 1, {first: rows}, []) == [first + rows]
    assert counts(staging, U, R) == Counts(2**50 + 1, 2 * rows, rows, rows, 1)


def test_two_stores_on_one_redis_never_meet(staging):
    for uuid in (U, "b-store"):
        opened(staging, uuid=uuid)
    complete_chunk(staging, U, R, 0, 10, b"ours")
    complete_chunk(staging, "b-store", R, 0, 10, b"theirs")
    (ours,) = read_staged(staging, U, "one", 9)
    (theirs,) = read_staged(staging, "b-store", "one", 9)
    assert (ours.payload, theirs.payload) == (b"ours", b"theirs")
    acknowledge(staging, U, ours)
    assert counts(staging, U) == Counts(30, 10, 0, 10, 0)
    assert counts(staging, "b-store") == Counts(30, 10, 10, 0, 6)
    assert acquire_lease(staging, U, "token", 60_000)
    assert acquire_lease(staging, "b-store", "other token", 60_000)


def test_counts_over_all_runs_are_sums(staging):
    opened(staging, 3, run_id="one")
    opened(staging, 5, run_id="two")
    complete_chunk(staging, U, "one", 0, 10, b"x")
    complete_chunk(staging, U, "two", 0, 10, b"yz")
    acknowledge(staging, U, read_staged(staging, U, "c", 1)[0])
    assert counts(staging, U) == Counts(80, 20, 10, 10, 2)
    assert counts(staging, "nobody") == Counts(0, 0, 0, 0, 0)


def test_a_payload_of_40_mb_comes_through(staging):
    opened(staging)
    payload = random.Random(1).randbytes(40_000_000)
    assert complete_chunk(staging, U, R, 0, 10, payload)
    (staged,) = read_staged(staging, U, "one", 9)
    assert staged.payload == payload
    assert len(repr(staged)) < 200
    assert open_run(staging, U, R, b"", 30, {}, plan(3)) == [0]
    acknowledge(staging, U, staged)
    assert staging.books.memory_usage(keys.stream(U)) < 10_000


def read_staged_on_a_full_server(staging):
    """What a reaper does, from scratch: neither its scripts nor its group are there yet."""
    staging.books.script_flush()
    assert acquire_lease(staging, U, "reaper", 60_000)
    assert renew_lease(staging, U, "reaper", 60_000)
    found = read_staged(staging, U, "reaper", 9)
    for staged in found:
        acknowledge(staging, U, staged)
    assert release_lease(staging, U, "reaper")
    return [staged.first for staged in found]


def test_a_full_server_refuses_results_whole_and_lets_the_reaper_empty_it(staging):
    opened(staging)
    complete_chunk(staging, U, R, 0, 10, b"x" * 1000)
    before = snapshot(staging)
    staging.books.config_set("maxmemory", 1)
    with pytest.raises(Unreachable, match="memory is full"):
        complete_chunk(staging, U, R, 10, 10, b"x" * 1000)
    with pytest.raises(Unreachable, match="memory is full"):
        open_run(staging, U, R, b"other", 31, {}, plan(3))
    assert snapshot(staging) == before
    assert read_staged_on_a_full_server(staging) == [0]
    assert counts(staging, U, R) == Counts(30, 10, 0, 10, 0)
    staging.books.config_set("maxmemory", 0)
    assert complete_chunk(staging, U, R, 10, 10, b"x" * 1000)


def test_there_is_one_reaper_at_a_time(staging):
    assert acquire_lease(staging, U, "one", 60_000)
    assert acquire_lease(staging, U, "one", 60_000)
    assert not acquire_lease(staging, U, "two", 60_000)
    assert not renew_lease(staging, U, "two", 60_000)
    assert not release_lease(staging, U, "two")
    assert renew_lease(staging, U, "one", 60_000)
    assert release_lease(staging, U, "one")
    assert not release_lease(staging, U, "one")
    assert acquire_lease(staging, U, "two", 60_000)


def test_reapers_of_old_are_struck_off_unless_something_is_pending_with_them(staging):
    opened(staging)
    complete_chunk(staging, U, R, 0, 10, b"x")
    for n in range(5):
        acknowledge(staging, U, *read_staged(staging, U, f"reaper {n}", 1))
        complete_chunk(staging, U, R, 10 * n + 10, 10, b"x")
    read_staged(staging, U, "crashed", 1)
    names = {consumer["name"] for consumer in staging.books.xinfo_consumers(keys.stream(U), keys.GROUP)}
    assert len(names) == 6
    assert acquire_lease(staging, U, "token", 60_000)
    (left,) = staging.books.xinfo_consumers(keys.stream(U), keys.GROUP)
    assert (left["name"], left["pending"]) == (b"crashed", 1)
    assert [staged.first for staged in read_staged(staging, U, "token", 9)] == [50]


def test_a_lease_expires_and_its_old_holder_is_told(staging):
    assert acquire_lease(staging, U, "one", 150)
    assert renew_lease(staging, U, "one", 300)
    time.sleep(0.16)
    assert not acquire_lease(staging, U, "two", 60_000)
    time.sleep(0.2)
    assert acquire_lease(staging, U, "two", 60_000)
    assert not renew_lease(staging, U, "one", 60_000)
    assert not release_lease(staging, U, "one")
    assert renew_lease(staging, U, "two", 60_000)


def test_of_many_threads_one_gets_the_lease(staging):
    won = []

    def try_it(token):
        if acquire_lease(staging, U, token, 60_000):
            won.append(token)

    together([lambda n=n: try_it(f"token {n}") for n in range(8)])
    assert len(won) == 1


def together(actions):
    failures = []

    def guarded(action):
        try:
            action()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_books_agree_at_every_moment_under_threads(staging):
    chunks, rows, payload = 60, 10, b"x" * 50
    opened(staging, chunks)
    accepted, acknowledged, watched, done = [], set(), [], threading.Event()

    def work(seed):
        order = plan(chunks)
        random.Random(seed).shuffle(order)
        for first, n in order:
            if complete_chunk(staging, U, R, first, n, payload):
                accepted.append(first)

    def reap():
        while len(acknowledged) < chunks:
            for staged in read_staged(staging, U, "reaper", 7):
                acknowledge(staging, U, staged)
                acknowledge(staging, U, staged)
                acknowledged.add(staged.first)
        done.set()

    def reopen():
        while not done.is_set():
            states = chunk_states(staging, U, R)
            watched.append((counts(staging, U, R), states))
            time.sleep(0.001)

    together([lambda: work(1), lambda: work(2), lambda: work(3), reap, reopen])
    assert sorted(accepted) == [first for first, _ in plan(chunks)]
    assert counts(staging, U, R) == Counts(600, 600, 0, 600, 0)
    assert staged_count(staging, U) == 0
    assert watched
    computed = [seen.computed for seen, _ in watched]
    assert computed == sorted(computed)
    for seen, _ in watched:
        assert 0 <= seen.staged <= seen.computed <= 600
        assert seen.staged_bytes == seen.staged // rows * len(payload)


class Books(RuleBasedStateMachine):
    """The books against a slow, obvious model: a dictionary of chunks, a list of entries."""

    chunk = st.integers(0, 4).map(lambda n: n * 10)

    def __init__(self):
        super().__init__()
        self.staging, self.uuid = SHARED[0], f"store-{next(SERIAL)}"  # hypothesis seeds random
        self.states, self.entries, self.held, self.total = {}, [], [], 0

    @rule(ledger=st.sets(chunk))
    def open(self, ledger):
        submitted = [(first, 10) for first in range(0, 50, 10) if first not in ledger]
        found = open_run(self.staging, self.uuid, R, b"", 50, dict.fromkeys(ledger, 10), submitted)
        queued = {first for first, _ in self.entries}
        still = {first for first, state in self.states.items() if state == "staged" and first in queued} - ledger
        states = {first: "persisted" if first in ledger else "submitted" for first in range(0, 50, 10)}
        self.states, self.total = states | dict.fromkeys(still, "staged"), 50
        assert found == sorted(still)

    @rule(first=chunk, payload=st.binary(min_size=1, max_size=3))
    def complete(self, first, payload):
        fresh = self.states.get(first, "submitted") == "submitted"
        assert complete_chunk(self.staging, self.uuid, R, first, 10, payload) == fresh
        if fresh:
            self.states[first] = "staged"
            self.entries.append((first, payload))

    @rule(count=st.integers(1, 4), consumer=st.sampled_from("abc"))
    def read(self, count, consumer):
        self.held = read_staged(self.staging, self.uuid, consumer, count)
        assert [(staged.first, staged.payload) for staged in self.held] == self.entries[:count]

    @rule(pick=st.integers(0, 3))
    def acknowledge(self, pick):
        for staged in self.held[pick : pick + 1]:
            acknowledge(self.staging, self.uuid, staged)
            if (staged.first, staged.payload) in self.entries:
                self.entries.remove((staged.first, staged.payload))
                self.states[staged.first] = "persisted"

    @rule()
    def flush(self):
        self.staging.books.flushdb()
        self.states, self.entries, self.held, self.total = {}, [], [], 0

    @invariant()
    def agree(self):
        assert chunk_states(self.staging, self.uuid, R) == self.states
        sizes = {first: len(payload) for first, payload in self.entries}
        staged = [first for first, state in self.states.items() if state == "staged"]
        persisted = [first for first, state in self.states.items() if state == "persisted"]
        expected = Counts(
            self.total,
            10 * len(staged + persisted),
            10 * len(staged),
            10 * len(persisted),
            sum(sizes[first] for first in staged),
        )
        assert counts(self.staging, self.uuid) == expected
        assert staged_count(self.staging, self.uuid) == len(self.entries)


SHARED, SERIAL = [], itertools.count()


def test_any_history_of_the_books_agrees_with_a_dictionary(binary):
    with fresh_staging(binary=binary) as staging:
        SHARED[:] = [staging]
        run_state_machine_as_test(Books, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))


def test_books_outlive_a_connection():
    with fresh_redis() as server:
        with connect(server.settings) as staging:
            opened(staging)
        with connect(server.settings) as staging:
            assert counts(staging, U).total == 30

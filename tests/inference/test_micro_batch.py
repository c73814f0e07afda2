"""Micro-batch: everybody gets their own answer, together under load, with their own error."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vofp_plugin.inference.micro_batch import MicroBatch


def test_every_request_gets_its_own_answer():
    micro_batch = MicroBatch(lambda requests: [2 * request for request in requests], max_items=3)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(micro_batch, range(200))) == [2 * n for n in range(200)]


def test_requests_that_come_meanwhile_are_answered_in_one_batch():
    batches, started, goes_on = [], threading.Event(), threading.Event()

    def answer(requests):
        batches.append(requests)
        started.set()
        assert goes_on.wait(10)
        return requests

    micro_batch = MicroBatch(answer, max_items=4)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(micro_batch, 0)
        assert started.wait(10)
        others = [pool.submit(micro_batch, n) for n in range(1, 6)]
        while len(micro_batch._waiting) < 5:
            time.sleep(0.001)
        goes_on.set()
        assert [first.result(), *(other.result() for other in others)] == [*range(6)]
    assert [len(batch) for batch in batches] == [1, 4, 1]


def test_request_that_fails_fails_alone():
    def answer(requests):
        if "bad" in requests:
            raise ValueError("no such speaker")
        return requests

    micro_batch = MicroBatch(answer)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(micro_batch, request) for request in ("good", "bad", "fine")]
        assert futures[0].result() == "good" and futures[2].result() == "fine"
        with pytest.raises(ValueError, match="no such speaker"):
            futures[1].result()


def test_batches_without_a_size_are_refused():
    with pytest.raises(ValueError, match="Got max_items 0; expected at least 1"):
        MicroBatch(list, max_items=0)

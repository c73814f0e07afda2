"""Micro-batch: requests of many threads, answered together by whichever thread is free."""

import threading


class MicroBatch:
    """Answers requests of many threads in common batches, of any mix of speakers.

    A request that finds nobody at work is answered at once, alone. Those that come meanwhile wait,
    and the first of them takes all that wait into one batch. So nothing waits for a clock, and
    batches grow with the load alone. Where a batch fails, its requests are answered one by one, so
    that each has its own error.

    Arguments
    ---------
    answer : callable
        A list of requests to as many answers.
    max_items : int
        Requests in a batch, at most.

    Raises
    ------
    ValueError
        If `max_items` is below 1.

    Example
    -------
    >>> micro_batch = MicroBatch(lambda requests: [request + 1 for request in requests])
    >>> micro_batch(2)
    3

    With a spotter, for (wav, profile) of each request:

    >>> def answer(requests):
    ...     wavs, profiles = zip(*requests)
    ...     return spotter.answer([*wavs], profiles=[*profiles])
    """

    def __init__(self, answer, max_items=64):
        if max_items < 1:
            raise ValueError(f"Got max_items {max_items}; expected at least 1.")
        self.answer, self.max_items = answer, max_items
        self._waiting, self._lock, self._at_work = [], threading.Lock(), threading.Lock()

    def __call__(self, request):
        """Answers one request; raises what `answer` raises for it."""
        own = _Request(request)
        with self._lock:
            self._waiting.append(own)
        while not own.done:
            with self._at_work:
                if not own.done:
                    self._answer_waiting()
        if own.error is not None:
            raise own.error
        return own.answer

    def _answer_waiting(self):
        with self._lock:
            batch = self._waiting[: self.max_items]
            del self._waiting[: self.max_items]
        if not self._try(batch):
            for request in batch:
                self._try([request])
        for request in batch:
            request.done = True

    def _try(self, batch):
        """Answers a batch, or keeps the error; says whether it went well."""
        try:
            answers = self.answer([request.content for request in batch])
            for request, answer in zip(batch, answers, strict=True):
                request.answer, request.error = answer, None
        except Exception as error:  # it belongs to whoever asked
            for request in batch:
                request.error = error
        return batch[0].error is None


class _Request:
    def __init__(self, content):
        self.content, self.answer, self.error, self.done = content, None, None, False

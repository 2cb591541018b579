"""Stands in for CUDA graphs where there is no GPU."""


class Again:
    """Captures nothing: a replay does the work once more, on the tensors of the capture."""

    def __init__(self):
        self.captures, self.eager, self.forgotten = 0, 0, 0

    def eagerly(self, work):
        self.eager += 1
        work()

    def capture(self, work):
        self.captures += 1
        return work

    def forget(self):
        self.forgotten += 1
